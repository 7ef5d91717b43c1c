package etcd_test

import (
	"testing"

	"culvert/internal/etcd/etcdtest"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }
