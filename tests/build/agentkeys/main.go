// Agentkeys lists the keys of the SSH agents behind sockets, for steps of
// builds that have no OpenSSH.
package main

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/crypto/ssh/agent"
)

func main() {
	for _, socket := range os.Args[1:] {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			fmt.Println(err)
			continue
		}
		keys, err := agent.NewClient(conn).List()
		fmt.Println(socket, "has", len(keys), "keys", err)
		for _, k := range keys {
			fmt.Println(socket, "has", k.Comment)
		}
	}
}
