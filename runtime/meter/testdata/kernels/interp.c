enum { PUSH, ADD, MUL, DUP, SWAP, DROP, LOAD, STORE, LESS, JUMPZ, JUMP, XOR, HALT };
static const int program[] = {
    PUSH, 0, STORE, 0, PUSH, 1, STORE, 1,
    /* 8: */ LOAD, 0, LOAD, 7, LESS, JUMPZ, 37,
    LOAD, 1, PUSH, 31, MUL, LOAD, 0, XOR, PUSH, 17, ADD, STORE, 1,
    LOAD, 0, PUSH, 1, ADD, STORE, 0, JUMP, 8, /* 37: */ HALT,
};
int run(int n) {
    int stack[32], memory[8] = {0}, top = 0, pc = 0;
    memory[7] = n;
    for (;;) {
        switch (program[pc++]) {
        case PUSH: stack[top++] = program[pc++]; break;
        case ADD: top--; stack[top - 1] = (int)((unsigned)stack[top - 1] + (unsigned)stack[top]); break;
        case MUL: top--; stack[top - 1] = (int)((unsigned)stack[top - 1] * (unsigned)stack[top]); break;
        case XOR: top--; stack[top - 1] ^= stack[top]; break;
        case DUP: stack[top] = stack[top - 1]; top++; break;
        case SWAP: { int keep = stack[top - 1]; stack[top - 1] = stack[top - 2]; stack[top - 2] = keep; break; }
        case DROP: top--; break;
        case LOAD: stack[top++] = memory[program[pc++]]; break;
        case STORE: memory[program[pc++]] = stack[--top]; break;
        case LESS: top--; stack[top - 1] = stack[top - 1] < stack[top]; break;
        case JUMPZ: { int to = program[pc++]; if (!stack[--top]) pc = to; break; }
        case JUMP: pc = program[pc]; break;
        case HALT: return memory[1];
        default: __builtin_trap();
        }
    }
}
