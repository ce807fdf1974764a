// Command math is an OKRA service in plain Go.
//
// Build it with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o build/service.wasm,
// pack it with okra package pack, and deploy what comes out.
package main

import (
	"encoding/json"
	"fmt"
	"unsafe"
)

type addInput struct {
	A int32 `json:"a"`
	B int32 `json:"b"`
}

type addResponse struct {
	Sum int32 `json:"sum"`
}

func handle(method string, input []byte) (any, error) {
	switch method {
	case "add":
		var in addInput
		if err := json.Unmarshal(input, &in); err != nil {
			return nil, err
		}
		return addResponse{Sum: in.A + in.B}, nil
	default:
		return nil, fmt.Errorf("unknown method: %s", method)
	}
}

// blocks keeps what the host holds addresses of, so that the collector leaves it alone.
var blocks = map[uintptr][]byte{}

//go:wasmexport allocate
func allocate(size int32) int32 {
	if size <= 0 {
		return 0
	}
	return int32(hold(make([]byte, size)))
}

//go:wasmexport deallocate
func deallocate(address int32) {
	delete(blocks, uintptr(address))
}

//go:wasmexport handle_request
func handleRequest(method, methodLen, input, inputLen int32) int64 {
	output, err := handle(string(view(method, methodLen)), view(input, inputLen))
	if err == nil {
		if bytes, failed := json.Marshal(output); failed == nil {
			return packed(bytes)
		} else {
			err = failed
		}
	}
	bytes, _ := json.Marshal(map[string]string{"error": err.Error()})
	return packed(bytes) | -1<<63
}

func hold(block []byte) uintptr {
	address := uintptr(unsafe.Pointer(&block[0]))
	blocks[address] = block
	return address
}

func packed(bytes []byte) int64 {
	return int64(hold(bytes))<<32 | int64(len(bytes))
}

func view(address, length int32) []byte {
	if length == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(uintptr(address))), length)
}

func main() {}
