package stack

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// together is how many of the parallel tests run at once, unless -parallel says
// otherwise: most of what they do is to wait.
const together = "8"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", together); err != nil {
		fmt.Fprintln(os.Stderr, "running tests together:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := removeBinaries(); err != nil {
			fmt.Fprintln(os.Stderr, "removing the built programs:", err)
		}
		os.Exit(code)
	}))
}
