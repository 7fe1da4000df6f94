#!/bin/sh
# Builds every kernel of this folder, with Debian's clang-19 and lld-19. The
# results are checked in, so that everybody measures the same code.
set -eu
cd "$(dirname "$0")"
for source in *.c; do
  simd=
  case "$source" in dot.c) simd=-msimd128 ;; esac
  clang-19 --target=wasm32 -O2 $simd -mbulk-memory -fno-builtin -nostdlib -Wall -Wextra -Werror \
    -Wl,--no-entry -Wl,--export=run -Wl,--strip-all -Wl,-z,stack-size=65536 -o "${source%.c}.wasm" "$source"
done
