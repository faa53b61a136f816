"""Branches, calls, barriers and warp communication."""
import re

from emit_base import CTYPE, Unsupported, cname, split_operands
from emit_memory import REDUX_OPS
from ptx_parser import TYPE_BITS


def label(name):
    return 'L_' + re.sub(r'[^A-Za-z0-9_]', '_', name.replace('$', '_S_'))


class ControlEmitter:
    def op_bra(self, parts, ops):
        return 'goto %s;' % self.label_name(ops[0])

    def op_brx(self, parts, ops):
        targets = self.branch_targets.get(ops[1])
        if targets is None:
            raise Unsupported('brx.idx with unknown table')
        cases = ' '.join('case %d: goto %s;' % (i, self.label_name(t)) for i, t in enumerate(targets))
        return 'switch (%s) { %s default: T->site = %d; cudasim::fault(T, "brx.idx index out of range"); }' % (
            self.value(ops[0], 'u32'), cases, self.site)

    def op_ret(self, parts, ops): return 'return;'

    def op_exit(self, parts, ops):
        if not self.is_entry:
            raise Unsupported('exit inside a device function')
        return 'return;'

    def op_trap(self, parts, ops):
        return 'T->site = %d; cudasim::fault(T, "the kernel executed a trap instruction");' % self.site

    op_brkpt = op_trap

    def op_nanosleep(self, parts, ops):
        return 'T->site = %d; cudasim::yield(T);' % self.site

    def op_pmevent(self, parts, ops): return ';'
    def op_griddepcontrol(self, parts, ops): return ';'
    def op_setmaxnreg(self, parts, ops): return ';'

    # Calls.
    def op_call(self, parts, ops):
        returns = []
        if ops and ops[0].startswith('('):
            returns = [x for x in split_operands(ops[0][1:-1]) if x]
            ops = ops[1:]
        target = ops[0]
        args = [x for x in split_operands(ops[1][1:-1]) if x] if len(ops) > 1 and ops[1].startswith('(') else []
        site = 'T->site = %d; ' % self.site
        if target == 'vprintf':
            v = ['load<uint64_t>(%s)' % cname(a) for a in args]
            return site + 'store<int32_t>(%s, cudasim::device_printf(T, %s, %s));' % (cname(returns[0]), v[0], v[1])
        if target == '__assertfail':
            v = ['load<uint64_t>(%s)' % cname(a) for a in args]
            return site + 'cudasim::device_assert(T, %s, %s, load<uint32_t>(%s), %s);' % (v[0], v[1], cname(args[2]), v[3])
        names = [cname(x) for x in returns + args]
        if target in self.registers:
            proto = ', '.join(['cudasim::Thread*'] + ['uint8_t*'] * len(names))
            return '((void (*)(%s))%s)(%s);' % (proto, cname(target), ', '.join(['T'] + names))
        fn = self.module.function_names.get(target)
        if not fn:
            raise Unsupported('call of the undefined device function %s (relocatable device code is not linked)' % target)
        return '%s(%s);' % (fn, ', '.join(['T'] + names))

    # Barriers.
    def op_bar(self, parts, ops):
        site = 'T->site = %d; ' % self.site
        if 'warp' in parts:
            return 'sync_warp(T, %s, %d);' % (self.value(ops[0], 'u32'), self.site)
        if 'cluster' in parts:
            raise Unsupported('.'.join(parts))
        if 'red' in parts:
            op = next(p for p in parts if p in ('popc', 'and', 'or'))
            reduce = {'popc': 'kPopc', 'and': 'kAnd', 'or': 'kOr'}[op]
            count = self.value(ops[2], 'u32') if len(ops) == 4 else '0'
            e = 'cudasim::barrier(T, %s, %s, cudasim::%s, %s)' % (self.value(ops[1], 'u32'), count, reduce, self.value(ops[-1], 'pred'))
            if op == 'popc':
                return site + self.assign(ops[0], 'u32', e)
            return site + '%s = %s != 0;' % (cname(ops[0]), e)
        bid = self.value(ops[0], 'u32')
        count = self.value(ops[1], 'u32') if len(ops) > 1 else '0'
        if 'arrive' in parts:
            return site + 'cudasim::barrier_arrive(T, %s, %s);' % (bid, count)
        return site + 'cudasim::barrier(T, %s, %s, cudasim::kNone, 0);' % (bid, count)

    op_barrier = op_bar

    # Warp communication.
    def op_shfl(self, parts, ops):
        if 'sync' not in parts:
            raise Unsupported('.'.join(parts))
        d = [x.strip() for x in ops[0].split('|')]
        mode = {'up': 'kUp', 'down': 'kDown', 'bfly': 'kBfly', 'idx': 'kIdx'}[next(p for p in parts if p in ('up', 'down', 'bfly', 'idx'))]
        text = '{ bool ok_; uint32_t v_ = shfl(T, %s, %s, %s, %s, %s, ok_, %d);' % (
            mode, self.value(ops[1], 'b32'), self.value(ops[2], 'u32'), self.value(ops[3], 'u32'), self.value(ops[4], 'u32'), self.site)
        if d[0] != '_':
            text += ' %s = v_;' % cname(d[0])
        if len(d) > 1:
            text += ' %s = ok_;' % cname(d[1])
        return text + ' (void)v_; }'

    def op_vote(self, parts, ops):
        if 'sync' not in parts:
            raise Unsupported('.'.join(parts))
        call = 'vote(T, %s, %s, %d)' % (self.value(ops[2], 'u32'), self.value(ops[1], 'pred'), self.site)
        if 'ballot' in parts:
            return '%s = %s.ballot;' % (cname(ops[0]), call)
        test = {'any': 'v_.ballot != 0', 'all': 'v_.ballot == v_.mask',
                'uni': 'v_.ballot == 0 || v_.ballot == v_.mask'}[next(p for p in parts if p in ('any', 'all', 'uni'))]
        return '{ auto v_ = %s; %s = %s; }' % (call, cname(ops[0]), test)

    def op_match(self, parts, ops):
        t = self.types_of(parts)[-1]
        d = [x.strip() for x in ops[0].split('|')]
        same = '&s_' if len(d) > 1 else 'nullptr'
        text = '{ bool s_; uint32_t v_ = match(T, %s, %s, %s, %s, %d); (void)s_; ' % (
            self.value(ops[2], 'u32'), self.value(ops[1], t), 'true' if 'all' in parts else 'false', same, self.site)
        if d[0] != '_':
            text += '%s = v_; ' % cname(d[0])
        if len(d) > 1:
            text += '%s = s_; ' % cname(d[1])
        return text + '(void)v_; }'

    def op_redux(self, parts, ops):
        t = self.types_of(parts)[-1]
        op = next(p for p in parts if p in REDUX_OPS)
        if 'abs' in parts or 'NaN' in parts:
            raise Unsupported('.'.join(parts))
        return self.assign(ops[0], t, 'redux<%s>(T, %s, %s, kRedux%s, %d)' % (
            CTYPE[t], self.value(ops[2], 'u32'), self.value(ops[1], t), op.capitalize(), self.site))

    def op_activemask(self, parts, ops):
        return 'T->site = %d; %s = cudasim::active_mask(T);' % (self.site, cname(ops[0]))

    def op_elect(self, parts, ops):
        d = [x.strip() for x in ops[0].split('|')]
        return '{ bool l_; uint32_t v_ = elect(T, %s, l_, %d); %s %s }' % (
            self.value(ops[1], 'u32'), self.site, '%s = v_;' % cname(d[0]) if d[0] != '_' else '(void)v_;', '%s = l_;' % cname(d[1]))
