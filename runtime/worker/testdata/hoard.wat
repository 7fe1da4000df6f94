;; Opens the HTTP request on its stdin seventeen times, and leaves all open. Exits
;; with the code of the last one, turned positive, when that is an error, and as
;; many have succeeded as may be open; else with 100.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "dugnad_v1" "http_open" (func $open (param i32 i32) (result i32)))
  (import "dugnad_v1" "http_close" (func $close (param i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "_start") (local $i i32) (local $n i32)
    (i32.store (i32.const 0) (i32.const 65536))
    (i32.store (i32.const 4) (i32.const 65536))
    (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then (call $proc_exit (i32.const 100))))
    ;; Opening and closing leaves room, however often.
    (loop $again
      (local.set $n (call $open (i32.const 65536) (i32.load (i32.const 8))))
      (if (i32.lt_s (local.get $n) (i32.const 1)) (then (call $proc_exit (i32.const 102))))
      (if (call $close (local.get $n)) (then (call $proc_exit (i32.const 103))))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100))))
    (local.set $i (i32.const 0))
    (loop $more
      (local.set $n (call $open (i32.const 65536) (i32.load (i32.const 8))))
      (if (i32.lt_s (local.get $n) (i32.const 1)) (then
        (if (i32.ne (local.get $i) (i32.const 16)) (then (call $proc_exit (i32.const 100))))
        (call $proc_exit (i32.sub (i32.const 0) (local.get $n)))))
      (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 17))))
    (call $proc_exit (i32.const 101))))
