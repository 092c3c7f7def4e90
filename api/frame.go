package api

import "encoding/binary"

// Streams as frames carry them. Source: Engine API, attach, stream format.
const (
	stdout = 1
	stderr = 2
)

const frameHeader = 8

// appendFrame appends the parts as one frame of a multiplexed stream: stream
// type, three zero bytes, length (big endian), payload.
func appendFrame(buf []byte, stream byte, parts ...[]byte) []byte {
	at := len(buf)
	buf = append(buf, stream, 0, 0, 0, 0, 0, 0, 0)
	for _, p := range parts {
		buf = append(buf, p...)
	}
	binary.BigEndian.PutUint32(buf[at+4:], uint32(len(buf)-at-frameHeader))
	return buf
}
