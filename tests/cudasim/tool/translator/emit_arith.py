"""Arithmetic, comparison, conversion and data movement instructions."""
from emit_base import CTYPE, FLOAT_TYPES, RAW, SHORT_FLOATS, Unsupported, cname, vector
from ptx_parser import FORMAT_TYPES, TYPE_BITS

ROUNDING = {'rn': 'Round::nearest', 'rz': 'Round::zero', 'rm': 'Round::down', 'rp': 'Round::up'}
WIDE = {'u16': 'u32', 's16': 's32', 'u32': 'u64', 's32': 's64', 'u64': 'b128', 's64': 'b128'}
COMPARE = {'eq': 'eq', 'ne': 'ne', 'lt': 'lt', 'le': 'le', 'gt': 'gt', 'ge': 'ge', 'lo': 'lt', 'ls': 'le', 'hi': 'gt',
           'hs': 'ge', 'equ': 'equ', 'neu': 'neu', 'ltu': 'ltu', 'leu': 'leu', 'gtu': 'gtu', 'geu': 'geu',
           'num': 'num', 'nan': 'nan'}


class ArithmeticEmitter:
    def types_of(self, parts):
        return [p for p in parts[1:] if p in TYPE_BITS]

    # Data movement.
    def op_mov(self, parts, ops):
        t = self.types_of(parts)[-1]
        bits = TYPE_BITS[t]
        if ops[0].startswith('{'):
            v = vector(ops[0])
            w = bits // len(v)
            src = self.value(ops[1], 'b%d' % bits)
            return '{ auto x_ = %s; %s }' % (src, ' '.join(
                '%s = (%s)(x_ >> %d);' % (cname(x), RAW[w], i * w) for i, x in enumerate(v) if x != '_'))
        if ops[1].startswith('{'):
            v = vector(ops[1])
            w = bits // len(v)
            return '%s = %s;' % (cname(ops[0]), ' | '.join(
                '(%s)((%s)%s << %d)' % (RAW[bits], RAW[bits], self.value(x, 'b%d' % w), i * w) for i, x in enumerate(v)))
        if t == 'pred':
            return '%s = %s;' % (cname(ops[0]), self.value(ops[1], t))
        return self.assign(ops[0], t, self.value(ops[1], t))

    def op_cvta(self, parts, ops):
        t = 'u64' if 'u64' in parts else 'u32'
        v = self.value(ops[1], t)
        if any(p.startswith('shared') for p in parts):
            v = '%s %s cudasim::kSharedWindow' % (v, '-' if 'to' in parts else '+')
        return self.assign(ops[0], t, v)

    def op_selp(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], t, '%s ? %s : %s' % (self.value(ops[3], 'pred'), self.value(ops[1], t), self.value(ops[2], t)))

    def op_slct(self, parts, ops):
        t, c = self.types_of(parts)
        return self.assign(ops[0], t, '%s >= 0 ? %s : %s' % (self.value(ops[3], c), self.value(ops[1], t), self.value(ops[2], t)))

    # Generic float/int operations.
    def float_wrap(self, parts, t, args):
        """Flushes subnormal inputs when .ftz is given."""
        if 'ftz' in parts and t == 'f32':
            return ['flush(%s)' % a for a in args]
        return args

    def finish(self, parts, d, t, e):
        if t in FLOAT_TYPES:
            if 'sat' in parts:
                e = 'saturate(%s)' % e
            if 'relu' in parts:
                e = 'relu(%s)' % e
            if 'ftz' in parts and t == 'f32':
                e = 'flush(%s)' % e
        return self.assign(d, t, e)

    def rounding(self, parts):
        for p in parts:
            if p in ('rz', 'rm', 'rp'):
                return ROUNDING[p]
        return None

    def float_op(self, parts, ops, name, n):
        t = self.types_of(parts)[-1]
        a = self.float_wrap(parts, t, [self.value(o, t) for o in ops[1:1 + n]])
        r = self.rounding(parts) if t in ('f32', 'f64') else None
        e = '%s_r(%s, %s)' % (name, ', '.join(a), r) if r else '%s(%s)' % (name, ', '.join(a))
        return self.finish(parts, ops[0], t, e)

    def add_sub(self, parts, ops, name):
        types = self.types_of(parts)
        t = types[-1]
        if len(set(types)) > 1:
            raise Unsupported('mixed precision ' + '.'.join(parts))
        if t in FLOAT_TYPES:
            return self.float_op(parts, ops, name, 2)
        a, b = self.value(ops[1], t), self.value(ops[2], t)
        carry_in = parts[0].endswith('c')
        if carry_in or 'cc' in parts:
            e = '%s_cc(%s, %s, cc_, %s, %s)' % (name, a, b, 'true' if carry_in else 'false', 'true' if 'cc' in parts else 'false')
        elif 'sat' in parts:
            e = '%s_sat(%s, %s)' % (name, a, b)
        else:
            e = '%s<%s>(%s, %s)' % (name, CTYPE[t], a, b)
        return self.assign(ops[0], t, e)

    def op_add(self, parts, ops): return self.add_sub(parts, ops, 'add')
    def op_addc(self, parts, ops): return self.add_sub(parts, ops, 'add')
    def op_sub(self, parts, ops): return self.add_sub(parts, ops, 'sub')
    def op_subc(self, parts, ops): return self.add_sub(parts, ops, 'sub')

    def op_mul(self, parts, ops):
        t = self.types_of(parts)[-1]
        if t in FLOAT_TYPES:
            return self.float_op(parts, ops, 'mul', 2)
        a, b = self.value(ops[1], t), self.value(ops[2], t)
        if 'wide' in parts:
            w = WIDE[t]
            return self.assign(ops[0], w, '(%s)%s * (%s)%s' % (CTYPE[w], a, CTYPE[w], b))
        return self.assign(ops[0], t, '%s<%s>(%s, %s)' % ('mul_hi' if 'hi' in parts else 'mul', CTYPE[t], a, b))

    def op_mad(self, parts, ops):
        t = self.types_of(parts)[-1]
        if t in FLOAT_TYPES:
            return self.op_fma(parts, ops)
        a, b = self.value(ops[1], t), self.value(ops[2], t)
        if 'wide' in parts:
            w = WIDE[t]
            return self.assign(ops[0], w, 'add<%s>((%s)%s * (%s)%s, %s)' % (CTYPE[w], CTYPE[w], a, CTYPE[w], b, self.value(ops[3], w)))
        product = '%s<%s>(%s, %s)' % ('mul_hi' if 'hi' in parts else 'mul', CTYPE[t], a, b)
        c = self.value(ops[3], t)
        if parts[0] == 'madc' or 'cc' in parts:
            e = 'add_cc<%s>(%s, %s, cc_, %s, %s)' % (CTYPE[t], product, c, 'true' if parts[0] == 'madc' else 'false',
                                                    'true' if 'cc' in parts else 'false')
        elif 'sat' in parts:
            e = 'add_sat(%s, %s)' % (product, c)
        else:
            e = 'add<%s>(%s, %s)' % (CTYPE[t], product, c)
        return self.assign(ops[0], t, e)

    op_madc = op_mad

    def op_fma(self, parts, ops):
        t = self.types_of(parts)[-1]
        if t in ('f32', 'f64') or t in SHORT_FLOATS:
            a = self.float_wrap(parts, t, [self.value(o, t) for o in ops[1:4]])
            r = self.rounding(parts) if t in ('f32', 'f64') else None
            e = 'fma_r(%s, %s)' % (', '.join(a), r) if r else 'ptx::fma(%s)' % ', '.join(a)
            return self.finish(parts, ops[0], t, e)
        raise Unsupported('.'.join(parts))

    def op_mul24(self, parts, ops):
        t = self.types_of(parts)[-1]
        if 'hi' in parts:
            raise Unsupported('mul24.hi')
        return self.assign(ops[0], t, 'mul24(%s, %s)' % (self.value(ops[1], t), self.value(ops[2], t)))

    def op_mad24(self, parts, ops):
        t = self.types_of(parts)[-1]
        if 'hi' in parts:
            raise Unsupported('mad24.hi')
        return self.assign(ops[0], t, 'add<%s>(mul24(%s, %s), %s)' % (CTYPE[t], *[self.value(o, t) for o in ops[1:4]]))

    def op_sad(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], t, 'sad(%s)' % ', '.join(self.value(o, t) for o in ops[1:4]))

    def op_div(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.float_op(parts, ops, 'ptx::div' if not self.rounding(parts) else 'div', 2)

    def op_rem(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], t, 'rem(%s, %s)' % (self.value(ops[1], t), self.value(ops[2], t)))

    def min_max(self, parts, ops, name):
        t = self.types_of(parts)[-1]
        if 'xorsign' in parts:
            raise Unsupported('.'.join(parts))
        fn = name + ('_nan' if 'NaN' in parts else '_')
        e = '%s<%s>(%s)' % (fn, CTYPE[t], ', '.join(self.float_wrap(parts, t, [self.value(o, t) for o in ops[1:3]])))
        if len(ops) > 3:
            e = '%s<%s>(%s, %s)' % (fn, CTYPE[t], e, self.value(ops[3], t))
        return self.finish(parts, ops[0], t, e)

    def op_min(self, parts, ops): return self.min_max(parts, ops, 'min')
    def op_max(self, parts, ops): return self.min_max(parts, ops, 'max')

    def unary(self, parts, ops, name, directed=None):
        t = self.types_of(parts)[-1]
        a = self.float_wrap(parts, t, [self.value(ops[1], t)])[0]
        r = self.rounding(parts) if directed and t in ('f32', 'f64') else None
        return self.finish(parts, ops[0], t, '%s(%s, %s)' % (directed, a, r) if r else '%s<%s>(%s)' % (name, CTYPE[t], a))

    def op_neg(self, parts, ops): return self.unary(parts, ops, 'neg')
    def op_abs(self, parts, ops): return self.unary(parts, ops, 'abs_')
    def op_sqrt(self, parts, ops): return self.unary(parts, ops, 'sqrt_', 'sqrt_r')
    def op_rsqrt(self, parts, ops): return self.unary(parts, ops, 'rsqrt')
    def op_rcp(self, parts, ops): return self.unary(parts, ops, 'rcp', 'rcp_r')
    def op_ex2(self, parts, ops): return self.unary(parts, ops, 'ex2')
    def op_lg2(self, parts, ops): return self.unary(parts, ops, 'lg2')
    def op_sin(self, parts, ops): return self.unary(parts, ops, 'sin_')
    def op_cos(self, parts, ops): return self.unary(parts, ops, 'cos_')
    def op_tanh(self, parts, ops): return self.unary(parts, ops, 'tanh_')

    def op_copysign(self, parts, ops):
        t = self.types_of(parts)[-1]
        return self.assign(ops[0], t, 'copysign_(%s, %s)' % (self.value(ops[1], t), self.value(ops[2], t)))

    def op_testp(self, parts, ops):
        t = self.types_of(parts)[-1]
        v = self.value(ops[1], t)
        test = {'finite': 'std::isfinite(%s)', 'infinite': 'std::isinf(%s)', 'number': '!std::isnan(%s)',
                'notanumber': 'std::isnan(%s)', 'normal': 'std::isnormal(%s)',
                'subnormal': '(std::fpclassify(%s) == FP_SUBNORMAL)'}[parts[1]]
        return '%s = %s;' % (cname(ops[0]), test % v)

    # Comparison.
    def comparison(self, parts, t, a, b):
        c = COMPARE.get(parts[1])
        if not c:
            raise Unsupported('.'.join(parts))
        if t == 'f32' and 'ftz' in parts:
            a, b = 'flush(%s)' % a, 'flush(%s)' % b
        return 'cmp_%s(%s, %s)' % (c, a, b)

    def op_setp(self, parts, ops):
        t = self.types_of(parts)[-1]
        a, b = self.value(ops[1], t), self.value(ops[2], t)
        bool_op = next((p for p in parts[2:] if p in ('and', 'or', 'xor')), None)
        combine = {'and': '(%s && %s)', 'or': '(%s || %s)', 'xor': '(%s != %s)'}
        other = self.value(ops[3], 'pred') if bool_op else None
        with_other = lambda e: combine[bool_op] % (e, other) if bool_op else e
        d = [x.strip() for x in ops[0].split('|')]
        if t in ('f16x2', 'bf16x2'):
            results = [with_other(self.comparison(parts, t, '%s(%s)' % (h, a), '%s(%s)' % (h, b))) for h in ('low', 'high')]
        else:
            c = self.comparison(parts, t, a, b)
            results = [with_other(c), with_other('!' + c)]
        text = 'bool p_ = %s, q_ = %s; ' % (results[0], results[1] if len(d) > 1 else 'false')
        for name, v in zip(d, ('p_', 'q_')):
            if name != '_':
                text += '%s = %s; ' % (cname(name), v)
        return '{ %s(void)q_; }' % text

    def op_set(self, parts, ops):
        dt, t = self.types_of(parts)
        a, b = self.value(ops[1], t), self.value(ops[2], t)
        bool_op = next((p for p in parts[2:] if p in ('and', 'or', 'xor')), None)
        combine = {'and': '(%s && %s)', 'or': '(%s || %s)', 'xor': '(%s != %s)'}
        with_other = lambda e: combine[bool_op] % (e, self.value(ops[3], 'pred')) if bool_op else e
        if t in ('f16x2', 'bf16x2'):
            lo, hi = (with_other(self.comparison(parts, t, '%s(%s)' % (h, a), '%s(%s)' % (h, b))) for h in ('low', 'high'))
            one = {'f16x2': '0x3c00u', 'bf16x2': '0x3f80u'}.get(dt, '0xffffu')
            return '%s = (%s ? %s : 0u) | (%s ? %s << 16 : 0u);' % (cname(ops[0]), lo, one, hi, one)
        c = with_other(self.comparison(parts, t, a, b))
        one = {'f32': '1.0f', 'f16': 'f16{0x3c00}', 'bf16': 'bf16{0x3f80}'}.get(dt, '(%s)-1' % CTYPE[dt])
        zero = {'f16': 'f16{0}', 'bf16': 'bf16{0}'}.get(dt, '(%s)0' % CTYPE[dt])
        return self.assign(ops[0], dt, '%s ? %s : %s' % (c, one, zero))

    # Conversion.
    def op_cvt(self, parts, ops):
        mods = set(parts[1:])
        kinds = [p for p in parts[1:] if p in TYPE_BITS or p in FORMAT_TYPES]
        if any(k in FORMAT_TYPES for k in kinds) or 'pack' in mods or 'rs' in mods:
            raise Unsupported('.'.join(parts))
        d, s = kinds[0], kinds[1]
        rounding = next((ROUNDING[p] for p in parts if p in ROUNDING), None)
        if d == 'tf32':
            if 'rna' not in mods and 'rn' not in mods and 'rz' not in mods:
                raise Unsupported('.'.join(parts))
            v = 'to_tf32(%s)' % self.value(ops[1], 'f32') if 'rz' not in mods else 'as<uint32_t>(%s) & 0xffffe000u' % self.value(ops[1], 'f32')
            return '%s = %s;' % (cname(ops[0]), v)
        if d in ('f16x2', 'bf16x2') and s == 'f32':
            e = 'bf16' if d == 'bf16x2' else 'f16'
            one = lambda o: self.short_from_f32(e, self.value(o, 'f32'), rounding, mods)
            return '%s = pack<%s>(%s, %s).v;' % (cname(ops[0]), d, one(ops[2]), one(ops[1]))
        v = self.value(ops[1], s)
        d_float, s_float = d in FLOAT_TYPES, s in FLOAT_TYPES
        integral = next((r for r in ('rni', 'rzi', 'rmi', 'rpi') if r in mods), None)
        round_fn = {'rni': 'round_nearest', 'rzi': 'round_zero', 'rmi': 'round_down', 'rpi': 'round_up'}
        if s_float and 'ftz' in mods and s == 'f32':
            v = 'flush(%s)' % v
        if d_float and s_float:
            x = 'value(%s)' % v
            if integral:
                x = '%s(%s)' % (round_fn[integral], x)
            if d in ('f16', 'bf16'):
                if s == 'f64':
                    e = 'from_double<%s>(%s%s)' % (CTYPE[d], x, ', ' + rounding if rounding else '')
                else:
                    e = self.short_from_f32(d, x, rounding, mods)
                    mods = mods - {'relu'}
            elif d == 'f32':
                e = 'to_f32(%s, %s)' % (x, rounding or 'Round::nearest') if s == 'f64' else x
            else:
                e = '(double)(%s)' % x
            if 'sat' in mods:
                e = 'saturate(%s)' % e
            if 'relu' in mods:
                e = 'relu(%s)' % e
            if 'ftz' in mods and d == 'f32':
                e = 'flush(%s)' % e
            return self.assign(ops[0], d, e)
        if s_float:
            return self.assign(ops[0], d, 'float_to_int<%s>(%s(value(%s)))' % (CTYPE[d], round_fn[integral or 'rzi'], v))
        if d_float:
            if d in ('f16', 'bf16'):
                e = 'from_double<%s>((double)%s, %s)' % (CTYPE[d], v, rounding or 'Round::nearest')
            elif d == 'f32':
                e = 'to_f32(%s, %s)' % (v, rounding or 'Round::nearest')
            else:
                e = 'to_f64(%s, %s)' % (v, rounding or 'Round::nearest')
            if 'sat' in mods:
                e = 'saturate(%s)' % e
            return self.assign(ops[0], d, e)
        if 'sat' in mods:
            return self.assign(ops[0], d, 'saturate_int<%s>(%s)' % (CTYPE[d], v))
        return self.assign(ops[0], d, '(%s)%s' % (CTYPE[d], v))

    def short_from_f32(self, d, x, rounding, mods):
        if rounding and rounding != 'Round::nearest':
            e = 'from_double<%s>(%s, %s)' % (CTYPE[d], x, rounding)
        else:
            e = 'from_float<%s>(%s)' % (CTYPE[d], x)
        if 'satfinite' in mods:
            raise Unsupported('cvt.satfinite')
        return 'relu(%s)' % e if 'relu' in mods else e
