"""Integer instructions beyond plain arithmetic: logic, shifts, bit fields, permutations, dot products of bytes."""
from emit_base import CTYPE, Unsupported, cname


class BitsEmitter:
    """Mixin beside ArithmeticEmitter, whose types_of it uses."""

    def logic(self, parts, ops, symbol):
        t = self.types_of(parts)[-1]
        if t == 'pred':
            symbol = {'&': '&&', '|': '||', '^': '!='}[symbol]
            return '%s = %s %s %s;' % (cname(ops[0]), self.value(ops[1], t), symbol, self.value(ops[2], t))
        return self.assign(ops[0], t, '%s %s %s' % (self.value(ops[1], t), symbol, self.value(ops[2], t)))

    def op_and(self, parts, ops): return self.logic(parts, ops, '&')
    def op_or(self, parts, ops): return self.logic(parts, ops, '|')
    def op_xor(self, parts, ops): return self.logic(parts, ops, '^')

    def op_not(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], t, ('!%s' if t == 'pred' else '~%s') % self.value(ops[1], t))

    def op_cnot(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], t, '%s == 0 ? 1 : 0' % self.value(ops[1], t))

    def op_shl(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], t, 'shl<%s>(%s, %s)' % (CTYPE[t], self.value(ops[1], t), self.value(ops[2], 'u32')))

    def op_shr(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], t, 'shr<%s>(%s, %s)' % (CTYPE[t], self.value(ops[1], t), self.value(ops[2], 'u32')))

    def op_popc(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], 'u32', 'popc(%s)' % self.value(ops[1], t))

    def op_clz(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], 'u32', 'clz(%s)' % self.value(ops[1], t))

    def op_brev(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], t, 'brev(%s)' % self.value(ops[1], t))

    def op_bfind(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], 'u32', 'bfind(%s, %s)' % (self.value(ops[1], t), 'true' if 'shiftamt' in parts else 'false'))

    def op_fns(self, parts, ops):
        return self.assign(ops[0], 'b32', 'fns(%s, %s, %s)' % (self.value(ops[1], 'b32'), self.value(ops[2], 'b32'), self.value(ops[3], 's32')))

    def op_bfe(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], t, 'bfe<%s>(%s, %s, %s)' % (CTYPE[t], self.value(ops[1], t), self.value(ops[2], 'u32'), self.value(ops[3], 'u32')))

    def op_bfi(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], t, 'bfi<%s>(%s, %s, %s, %s)' % (CTYPE[t], self.value(ops[1], t), self.value(ops[2], t), self.value(ops[3], 'u32'), self.value(ops[4], 'u32')))

    def op_bmsk(self, parts, ops):
        return self.assign(ops[0], 'b32', 'bmsk(%s, %s, %s)' % (self.value(ops[1], 'b32'), self.value(ops[2], 'b32'), 'true' if 'clamp' in parts else 'false'))

    def op_szext(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], t, 'szext(%s, %s, %s)' % (self.value(ops[1], t), self.value(ops[2], 'u32'), 'true' if 'clamp' in parts else 'false'))

    def op_prmt(self, parts, ops):
        a, b, c = (self.value(o, 'b32') for o in ops[1:4])
        modes = ('f4e', 'b4e', 'rc8', 'ecl', 'ecr', 'rc16')
        mode = next((p for p in parts if p in modes), None)
        if mode:
            return self.assign(ops[0], 'b32', 'prmt_mode(%s, %s, %s, %d)' % (a, b, c, modes.index(mode)))
        return self.assign(ops[0], 'b32', 'prmt(%s, %s, %s)' % (a, b, c))

    def op_lop3(self, parts, ops):
        if '|' in ops[0] or len(ops) != 5:
            raise Unsupported('.'.join(parts) + ' with predicate')
        return self.assign(ops[0], 'b32', 'lop3<%d>(%s, %s, %s)' % (int(ops[4], 0), *[self.value(o, 'b32') for o in ops[1:4]]))

    def op_shf(self, parts, ops):
        return self.assign(ops[0], 'b32', 'shf_%s(%s, %s, %s, %s)' % (
            parts[1], self.value(ops[1], 'b32'), self.value(ops[2], 'b32'), self.value(ops[3], 'u32'), 'true' if 'wrap' in parts else 'false'))

    def op_dp4a(self, parts, ops):
        ta, tb = self.types_of(parts)[-2:]
        sign = lambda t: 'true' if t[0] == 's' else 'false'
        return self.assign(ops[0], 'b32', 'dp4a(%s, %s, %s, %s, %s)' % (
            self.value(ops[1], 'b32'), sign(ta), self.value(ops[2], 'b32'), sign(tb), self.value(ops[3], 'b32')))

    def op_dp2a(self, parts, ops):
        ta, tb = self.types_of(parts)[-2:]
        sign = lambda t: 'true' if t[0] == 's' else 'false'
        return self.assign(ops[0], 'b32', 'dp2a(%s, %s, %s, %s, %s, %s)' % (
            self.value(ops[1], 'b32'), sign(ta), self.value(ops[2], 'b32'), sign(tb), self.value(ops[3], 'b32'),
            'true' if 'hi' in parts else 'false'))

    def simd_absdiff(self, parts, ops, lanes):
        _, ta, tb = self.types_of(parts)
        if 'sat' in parts or any('.' in o.strip('%') and not o.startswith('%') for o in ops):
            raise Unsupported('.'.join(parts))
        sign = lambda t: 'true' if t[0] == 's' else 'false'
        return self.assign(ops[0], 'b32', 'simd_absdiff<%d>(%s, %s, %s, %s, %s, %s)' % (
            lanes, self.value(ops[1], 'b32'), sign(ta), self.value(ops[2], 'b32'), sign(tb),
            self.value(ops[3], 'b32') if len(ops) > 3 else '0u', 'true' if 'add' in parts else 'false'))

    def op_vabsdiff4(self, parts, ops): return self.simd_absdiff(parts, ops, 4)
    def op_vabsdiff2(self, parts, ops): return self.simd_absdiff(parts, ops, 2)
