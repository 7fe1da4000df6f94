;; Imports what does not exist.
(module (import "no_such" "thing" (func)) (memory (export "memory") 1) (func (export "_start")))
