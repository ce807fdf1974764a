;; Exports a handle_request of another type than the ABI's.
(module
  (memory (export "memory") 1)
  (func (export "allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "deallocate") (param i32))
  (func (export "handle_request") (param i32 i32) (result i64) (i64.const 0)))
