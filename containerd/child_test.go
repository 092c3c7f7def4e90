package containerd_test

// childArg makes the test binary another process with a runtime of its own.
const childArg = "-containerd-child"

func child([]string) {}
