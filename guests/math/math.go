// Command math is an OKRA service in plain Go.
//
// Build it with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o build/service.wasm,
// pack it with okra package pack, and deploy what comes out.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"
)

type addInput struct {
	A int32 `json:"a"`
	B int32 `json:"b"`
}

type addResponse struct {
	Sum int32 `json:"sum"`
}

// sampleInput is written as protobuf writes JSON: a Long is a string, and what is not set is not there.
type sampleInput struct {
	ID     string     `json:"id"`
	Values []float64  `json:"values"`
	Weight int64      `json:"weight,string"`
	Taken  *time.Time `json:"taken"`
	Labels []string   `json:"labels"`
}

type summary struct {
	ID     string     `json:"id"`
	Count  int32      `json:"count"`
	Mean   float64    `json:"mean"`
	Weight int64      `json:"weight,string"`
	Taken  *time.Time `json:"taken,omitempty"`
	Labels []string   `json:"labels,omitempty"`
}

func summarize(in sampleInput) (summary, error) {
	if len(in.Values) == 0 {
		return summary{}, errors.New("the sample has no values")
	}
	total := 0.0
	for _, value := range in.Values {
		total += value
	}
	count := len(in.Values)
	slices.Sort(in.Labels)
	return summary{
		ID:     in.ID,
		Count:  int32(count),
		Mean:   total / float64(count),
		Weight: in.Weight * int64(count),
		Taken:  in.Taken,
		Labels: in.Labels,
	}, nil
}

func handle(method string, input []byte) (any, error) {
	switch method {
	case "add":
		var in addInput
		if err := json.Unmarshal(input, &in); err != nil {
			return nil, err
		}
		return addResponse{Sum: in.A + in.B}, nil
	case "summarize":
		var in sampleInput
		if err := json.Unmarshal(input, &in); err != nil {
			return nil, err
		}
		return summarize(in)
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
