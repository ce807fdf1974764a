// The echo service on grpc-go with default settings. Messages are passed on as the bytes they came in, so
// that nothing is measured but the server.
//
//	go run . PORT
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"

	"google.golang.org/grpc"
)

// raw is a codec for messages that stay bytes.
type raw struct{}

func (raw) Marshal(message any) ([]byte, error) {
	bytes, ok := message.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T is not a message of this service", message)
	}
	return *bytes, nil
}

func (raw) Unmarshal(data []byte, message any) error {
	bytes, ok := message.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is not a message of this service", message)
	}
	*bytes = append((*bytes)[:0], data...)
	return nil
}

func (raw) Name() string { return "proto" }

// say answers with what it was sent, in the form that generated code calls a method.
func say(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	message := new([]byte)
	if err := decode(message); err != nil {
		return nil, err
	}
	return message, nil
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("which port?")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "echo.Echo",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Say", Handler: say}},
	}, nil)
	log.Fatal(server.Serve(listener))
}
