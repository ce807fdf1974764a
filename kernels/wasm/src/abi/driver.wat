;; Speaks the OKRA ABI with a guest for one call, so that the host enters wasm once and not six times.
;; `put` writes the method and the input to the pointers the guest gave; `take` copies the result out and
;; says which pointer to free, 0 for none.
(module
  (import "guest" "allocate" (func $allocate (param i32) (result i32)))
  (import "guest" "deallocate" (func $deallocate (param i32)))
  (import "guest" "handle_request" (func $handle (param i32 i32 i32 i32) (result i64)))
  (import "host" "put" (func $put (param i32 i32)))
  (import "host" "take" (func $take (param i64) (result i32)))
  (func $free (param $ptr i32)
    (if (local.get $ptr) (then (call $deallocate (local.get $ptr)))))
  (func (export "call") (param $method_len i32) (param $input_len i32)
    (local $method i32)
    (local $input i32)
    (local.set $method (call $allocate (local.get $method_len)))
    (local.set $input (call $allocate (local.get $input_len)))
    (call $put (local.get $method) (local.get $input))
    (call $free
      (call $take
        (call $handle
          (local.get $method) (local.get $method_len) (local.get $input) (local.get $input_len))))
    (call $free (local.get $input))
    (call $free (local.get $method))))
