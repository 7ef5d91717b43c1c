package main_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	main "culvert/cmd/culvert"
	"culvert/connectors/connectorstest"
	"culvert/internal/etcd/etcdtest"
	"culvert/keys/keystest"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes three programs of the test binary: the tests, culvert itself (so that scripts start
// what was compiled with the tests), and a member of the etcd cluster that etcdtest runs. curl is a
// stand-in, because `make test` may ask for nothing but Go.
func TestMain(m *testing.M) {
	if os.Getenv("CULVERT_TEST_ETCD_MEMBER") != "" {
		etcdtest.Main(m)
	}
	testscript.Main(m, map[string]func(){"culvert": main.Main, "curl": curl})
}

// TestScripts runs the command line as a user would. $ADDR and $OTHER are free addresses, $BASE and
// $PORT are the URL and the port of the first.
func TestScripts(t *testing.T) { testscript.Run(t, scriptsIn(t, "testdata/script")) }

// scriptsIn has what the scripts of a directory need.
func scriptsIn(t *testing.T, dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			addrs, err := freeAddrs(2)
			if err != nil {
				return err
			}
			e.Setenv("ADDR", addrs[0])
			e.Setenv("BASE", "http://"+addrs[0])
			e.Setenv("OTHER", addrs[1])
			_, port, err := net.SplitHostPort(addrs[0])
			if err != nil {
				return err
			}
			e.Setenv("PORT", port)
			e.Values[kmsOfScript{}] = &kmsOfScript{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": scriptReady, "signal": scriptSignal, "mode": scriptMode, "exits": scriptExits, "cluster": scriptCluster(t), "kms": scriptKMS(t),
			"provider": scriptProvider(t),
		},
	}
}

// scriptReady waits until a server answers: `ready host:port`.
func scriptReady(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ts.Check(awaitReady(ctx, "http://"+args[0]))
}

// scriptSignal signals the background command that has the given argument: `signal TERM argument`.
func scriptSignal(ts *testscript.TestScript, _ bool, args []string) {
	signal, ok := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "STOP": syscall.SIGSTOP}[args[0]]
	if !ok {
		ts.Fatalf("unknown signal %s", args[0])
	}
	for _, cmd := range ts.BackgroundCmds() {
		for _, arg := range cmd.Args {
			if arg == args[1] {
				ts.Check(cmd.Process.Signal(signal))
				return
			}
		}
	}
	ts.Fatalf("no background command has the argument %s", args[1])
}

// scriptMode compares permissions: `mode 600 file…`.
func scriptMode(ts *testscript.TestScript, _ bool, args []string) {
	for _, file := range args[1:] {
		info, err := os.Stat(ts.MkAbs(file))
		ts.Check(err)
		if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", file, got, args[0])
		}
	}
}

// scriptExits runs a command that must end with the given code: `exits 2 command…`.
func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("%s ended with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// scriptProvider starts an OAuth provider and puts its URL into a variable: `provider VARIABLE`.
func scriptProvider(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Setenv(args[0], connectorstest.Start(t, connectorstest.Config{}).URL)
	}
}

// scriptCluster starts an external etcd and puts its endpoints into a variable: `cluster ETCD`.
func scriptCluster(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Setenv(args[0], strings.Join(etcdtest.NewCluster(t).Endpoints(), ","))
	}
}

// kmsOfScript is the fake AWS KMS of one script, and the name that testscript keeps it under.
type kmsOfScript struct{ fake *keystest.AWS }

// scriptKMS is a fake AWS KMS: `kms start` puts its endpoint into $KMS, two keys into $KEY and $OTHERKEY and
// credentials into the environment; `kms disable $KEY` and `kms enable $KEY` are what an administrator does.
//
// Scripts run side by side, so each has a fake of its own.
func scriptKMS(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		mine := ts.Value(kmsOfScript{}).(*kmsOfScript)
		switch args[0] {
		case "start":
			fake := keystest.NewAWS(t)
			mine.fake = fake
			ts.Setenv("KMS", fake.Endpoint())
			ts.Setenv("KEY", fake.NewKey(t, keystest.AWSAccount))
			ts.Setenv("OTHERKEY", fake.NewKey(t, keystest.AWSAccount))
			for _, variable := range keystest.AWSEnvironment() {
				name, value, _ := strings.Cut(variable, "=")
				ts.Setenv(name, value)
			}
		case "disable":
			mine.fake.Disable(args[1])
		case "enable":
			mine.fake.Enable(args[1])
		default:
			ts.Fatalf("kms %s is unknown", args[0])
		}
	}
}

// freeAddrs are different loopback addresses nobody listens on at this moment.
func freeAddrs(n int) (addrs []string, err error) {
	for len(addrs) < n {
		addr, err := etcdtest.FreeAddr()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	return addrs, nil
}

// awaitReady waits until a server says that everything it needs is usable.
func awaitReady(ctx context.Context, base string) error {
	return awaitReadyOver(ctx, http.DefaultTransport, base)
}

func awaitReadyOver(ctx context.Context, transport http.RoundTripper, base string) error {
	client := &http.Client{Timeout: 10 * time.Second, Transport: transport}
	defer client.CloseIdleConnections()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("status %d", resp.StatusCode)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready: %w", base, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
