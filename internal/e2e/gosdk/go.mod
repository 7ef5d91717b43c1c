module culvert/internal/e2e/gosdk

go 1.26

require (
	github.com/google/go-cmp v0.7.0
	github.com/workos/workos-go/v6 v6.5.0
	github.com/workos/workos-go/v9 v9.6.0
)

require (
	github.com/davecgh/go-spew v1.1.1 // indirect
	github.com/google/go-querystring v1.2.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/kr/pretty v0.3.1 // indirect
	github.com/pmezard/go-difflib v1.0.0 // indirect
	github.com/stretchr/testify v1.11.1 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
)
