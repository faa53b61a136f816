#!/usr/bin/env python3
"""Translates one PTX module to C++ source files.   usage: translate.py in.ptx OUTPUT_DIR"""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from emit_arith import ArithmeticEmitter
from emit_base import RAW, Operands, Unsupported, cname, split_operands
from emit_bits import BitsEmitter
from emit_control import ControlEmitter, label
from emit_matrix import MatrixEmitter
from emit_memory import MemoryEmitter
from ptx_parser import TYPE_BITS, Param, parse_module, parse_param, parse_variable

INSTR_RE = re.compile(r'(?:@(!?)\s*([\w%$]+)\s+)?([\w.:]+)\s*(.*)$', re.S)
LINES_PER_UNIT = 4000      # PTX statements per generated translation unit
BIG_FUNCTION = 9000        # statements above which the compiler is asked for less optimisation


def align_up(n, a):
    return (n + a - 1) // a * a


def c_string(s):
    return '"' + s.replace('\\', '\\\\').replace('"', '\\"') + '"'


class FunctionEmitter(Operands, ArithmeticEmitter, BitsEmitter, MemoryEmitter, MatrixEmitter, ControlEmitter):
    def __init__(self, module, fn, shared):
        self.module, self.fn = module, fn
        self.is_entry = fn.is_entry
        self.shared = dict(shared)        # name -> C++ expression of the shared offset
        self.local_vars, self.local_params = set(), set()
        self.registers = {}               # name -> bits
        self.branch_targets = {}
        self.site = 0
        self.scope = ()                   # labels may be repeated in disjoint scopes (inline asm)
        self.labels = {}                  # (scope, PTX label) -> C++ label
        if fn.is_entry:
            self.params, at = {}, 0
            for p in fn.params:
                at = align_up(at, p.align)
                self.params[p.name] = at
                at += p.size
            self.param_bytes = at
        else:
            self.params = {p.name: cname(p.name) for p in fn.returns + fn.params}

    # Labels: scoped names.
    def collect_labels(self):
        scope, count = (), 0
        for st in self.fn.body:
            if st.kind == 'open':
                count += 1
                scope = scope + (count,)
            elif st.kind == 'close':
                scope = scope[:-1]
            elif st.kind == 'label':
                self.labels[(scope, st.text)] = label(st.text) + ('_%d' % scope[-1] if scope else '')

    def label_name(self, name):
        for n in range(len(self.scope), -1, -1):
            key = (self.scope[:n], name)
            if key in self.labels:
                return self.labels[key]
        raise Unsupported('unknown label ' + name)

    # Statements.
    def declare_registers(self, text):
        m = re.match(r'\.reg\s*\.(\w+)\s+(.*)', text, re.S)
        bits = TYPE_BITS[m[1]]
        names = []
        for nm in m[2].split(','):
            nm = nm.strip()
            r = re.match(r'(.*)<(\d+)>$', nm)
            names += ['%s%d' % (r[1], i) for i in range(int(r[2]))] if r else [nm]
        for x in names:
            self.registers[x] = bits
        if not names:
            return ''
        out = []
        for i in range(0, len(names), 16):
            out.append('[[maybe_unused]] %s %s;' % (RAW[bits], ', '.join(cname(x) for x in names[i:i + 16])))
        return '\n  '.join(out)

    def instruction(self, st):
        m = INSTR_RE.match(st.text)
        if not m:
            raise Unsupported(st.text)
        neg, pred, op, rest = m.groups()
        self.site = self.module.add_site(st)
        parts = op.split('.')
        handler = getattr(self, 'op_' + parts[0], None)
        try:
            if handler is None:
                raise Unsupported(op)
            code = handler(parts, split_operands(rest))
        except (Unsupported, KeyError, StopIteration, IndexError, ValueError) as e:
            why = op if not isinstance(e, Unsupported) or str(e) == op else '%s (%s)' % (op, e)
            self.module.unsupported.setdefault(why, st.line)
            code = 'T->site = %d; cudasim::unsupported(T, %s);' % (self.site, c_string(why))
        if pred:
            code = 'if (%s%s) { %s }' % ('!' if neg else '', cname(pred), code)
        return code

    def emit(self, symbol):
        fn = self.fn
        self.collect_labels()
        for st in fn.body:
            if st.kind == 'targets':
                name, rest = st.text.split('\n', 1)
                self.branch_targets[name] = [x.strip() for x in re.sub(r'^\.\w+', '', rest).split(',')]
        args = ['[[maybe_unused]] cudasim::Thread* T']
        if not fn.is_entry:   # parameters and results of device functions are passed as pointers to their bytes
            args += ['[[maybe_unused]] uint8_t* ' + cname(p.name) for p in fn.returns + fn.params]
        code = ['// ' + fn.name, 'void %s(%s) {' % (symbol, ', '.join(args)), '  [[maybe_unused]] bool cc_ = false;']
        self.scope, count = (), 0
        for st in fn.body:
            if st.kind == 'open':
                count += 1
                self.scope = self.scope + (count,)
                code.append('  {')
            elif st.kind == 'close':
                self.scope = self.scope[:-1]
                code.append('  }')
            elif st.kind == 'label':
                code.append('%s: ;' % self.labels[(self.scope, st.text)])
            elif st.kind == 'reg':
                code.append('  ' + self.declare_registers(st.text))
            elif st.kind == 'param':
                p = parse_param(st.text)
                self.local_params.add(p.name)
                code.append('  [[maybe_unused]] alignas(16) uint8_t %s[%d];' % (cname(p.name), max(p.size, 16)))
            elif st.kind == 'var':
                v = parse_variable(st.text)
                if v and v.space == 'local':
                    self.local_vars.add(v.name)
                    code.append('  [[maybe_unused]] alignas(%d) uint8_t %s[%d];' % (max(v.align, 16), cname(v.name), max(v.size, 1)))
            elif st.kind == 'instr':
                code.append('  ' + self.instruction(st))
        code.append('}')
        return '\n'.join(code)


class ModuleTranslator:
    def __init__(self, source, ptx_path):
        self.ptx = parse_module(source)
        self.ptx_path = ptx_path
        self.sites = [(0, 0, 0, 0, 0)]
        self.unsupported = {}
        self.globals = [v for v in self.ptx.variables if v.space in ('global', 'const')]
        for fn in self.ptx.functions:      # function-scope globals (rare)
            for st in fn.body or []:
                if st.kind == 'var':
                    v = parse_variable(st.text)
                    if v and v.space in ('global', 'const'):
                        self.globals.append(v)
        self.global_index = {v.name: i for i, v in enumerate(self.globals)}
        self.defined = [f for f in self.ptx.functions if f.body is not None]
        self.function_names = {}
        for i, f in enumerate(self.defined):
            if f.name in self.function_names:
                continue
            self.function_names[f.name] = ('cudasim_kernel_%d' if f.is_entry else 'cudasim_function_%d') % i

    def add_site(self, st):
        loc = st.loc or (0, 0, 0, 0)
        self.sites.append((st.line, loc[0], loc[2], loc[1], loc[3]))
        return len(self.sites) - 1

    # Shared memory layout.
    def layout_shared(self):
        """Offsets of shared variables. Variables used by device functions get the same offset in all kernels."""
        module_shared = {v.name: v for v in self.ptx.variables if v.space == 'shared'}
        used = {}
        for f in self.defined:
            words = set()
            for st in f.body:
                if st.kind == 'instr':
                    words.update(re.findall(r'[\w$%]+', st.text))
            own = {}
            for st in f.body:
                if st.kind == 'var':
                    v = parse_variable(st.text)
                    if v and v.space == 'shared':
                        own[v.name] = v
            vs = [v for n, v in module_shared.items() if n in words] + list(own.values())
            used[id(f)] = vs
        common, base, extern_in_functions = {}, 0, False
        for f in self.defined:
            if f.is_entry:
                continue
            for v in used[id(f)]:
                if v.extern or v.size == 0:
                    extern_in_functions = True
                    common[v.name] = 'T->block->dynamic_offset'
                elif v.name not in common:
                    base = align_up(base, v.align)
                    common[v.name] = str(base)
                    base += v.size
        layouts = {}
        for f in self.defined:
            if not f.is_entry:
                layouts[id(f)] = (dict(common), 0, 0)
                continue
            at = base if any(st.kind == 'instr' and 'call' in st.text for st in f.body) else 0
            offsets, dynamic, dynamic_align = dict(common) if at or extern_in_functions else {}, [], 16
            for v in used[id(f)]:
                if v.extern or v.size == 0:
                    dynamic.append(v.name)
                    dynamic_align = max(dynamic_align, v.align)
                elif v.name not in offsets:
                    at = align_up(at, v.align)
                    offsets[v.name] = str(at)
                    at += v.size
            dyn = align_up(at, dynamic_align)
            for n in dynamic:
                offsets[n] = str(dyn)
            layouts[id(f)] = (offsets, at, dyn)
        return layouts

    # Module variables.
    def initial_data(self, index, v, relocs):
        """Initial bytes of a variable; addresses of symbols become relocations."""
        if not v.init:
            return b''
        size = max(1, TYPE_BITS[v.type] // 8)
        out = bytearray()
        for item in re.findall(r'[^{},\s][^{},]*', v.init):
            item = item.strip()
            m = re.match(r'0[fF]([0-9a-fA-F]{8})$', item)
            if m:
                out += int(m[1], 16).to_bytes(4, 'little')
                continue
            m = re.match(r'0[dD]([0-9a-fA-F]{16})$', item)
            if m:
                out += int(m[1], 16).to_bytes(8, 'little')
                continue
            if re.match(r'-?(0x[0-9a-fA-F]+|\d+)U?$', item):
                out += (int(item.rstrip('U'), 0) & ((1 << 8 * size) - 1)).to_bytes(size, 'little')
                continue
            m = re.match(r'(?:(0x[0-9a-fA-F]+)\s*\(\s*)?(?:generic\(\s*)?([\w$]+)\s*\)?\s*(?:([+-]\s*\d+))?\s*\)*$', item)
            if not m:
                raise ValueError('initialiser ' + item)
            mask = int(m[1], 16) if m[1] else None
            shift = (mask & -mask).bit_length() - 1 if mask else 0
            relocs.append((index, len(out), m[2], int((m[3] or '0').replace(' ', '')), size, shift))
            out += bytes(size)
        return bytes(out)

    def write(self, out_dir):
        layouts = self.layout_shared()
        bodies, kernels, declarations = [], [], []
        emitted = set()
        for f in self.defined:
            if f.name in emitted:
                continue
            emitted.add(f.name)
            offsets, static, dyn = layouts[id(f)]
            symbol = self.function_names[f.name]
            e = FunctionEmitter(self, f, offsets)
            bodies.append((len(f.body), e.emit(symbol)))
            if f.is_entry:
                declarations.append('void %s(cudasim::Thread*);' % symbol)
                limit = re.search(r'\.(?:maxntid|reqntid)\s+(\d+)(?:\s*,\s*(\d+))?(?:\s*,\s*(\d+))?', f.directives)
                max_threads = 1
                for g in (limit.groups() if limit else ()):
                    max_threads *= int(g or 1)
                kernels.append((f, symbol, static, dyn, e.params, e.param_bytes, max_threads if limit else 0))
            else:
                declarations.append('void %s(cudasim::Thread*%s);' % (symbol, ', uint8_t*' * len(f.returns + f.params)))
        header = ['#pragma once', '#include "ptx/module.h"',
                  'extern __attribute__((visibility("hidden"))) uint64_t cudasim_globals[];'] + declarations
        open(os.path.join(out_dir, 'declarations.h'), 'w').write('\n'.join(header) + '\n')

        units, current, size = [], [], 0
        for n, text in bodies:
            if current and size + n > LINES_PER_UNIT:
                units.append((size, current))
                current, size = [], 0
            current.append(text)
            size += n
        if current:
            units.append((size, current))
        names = []
        for i, (n, texts) in enumerate(units):
            name = 'unit%d%s.cc' % (i, '.big' if n > BIG_FUNCTION else '')
            open(os.path.join(out_dir, name), 'w').write('#include "declarations.h"\n' + '\n'.join(texts) + '\n')
            names.append(name)
        open(os.path.join(out_dir, 'table.cc'), 'w').write(self.table(kernels))
        names.append('table.cc')
        return names

    def table(self, kernels):
        out, relocs = ['#include "declarations.h"', 'using namespace cudasim;'], []
        rows = []
        for i, v in enumerate(self.globals):
            data = self.initial_data(i, v, relocs)
            init = 'nullptr'
            if any(data):
                out.append('static const uint8_t init_%d[] = {%s};' % (i, ','.join(map(str, data))))
                init = 'init_%d' % i
            rows.append('{%s, %d, %d, %s, %s, %d}' % (c_string(v.name), max(v.size, 1), v.align,
                                                     'true' if v.space == 'const' else 'false', init, len(data)))
        out.append('uint64_t cudasim_globals[%d];' % max(1, len(rows)))
        out.append('static const GlobalInfo globals[] = {%s};' % ',\n'.join(rows or ['{}']))
        reloc_rows = []
        for index, offset, name, addend, size, shift in relocs:
            if name in self.global_index:
                reloc_rows.append('{%d, %d, %d, nullptr, %d, %d, %d}' % (index, offset, self.global_index[name], addend, size, shift))
            elif name in self.function_names:
                reloc_rows.append('{%d, %d, -1, (void*)%s, %d, %d, %d}' % (index, offset, self.function_names[name], addend, size, shift))
            else:
                raise ValueError('initialiser refers to unknown symbol ' + name)
        out.append('static const RelocInfo relocs[] = {%s};' % ',\n'.join(reloc_rows or ['{}']))
        rows = []
        for i, (f, symbol, static, dyn, params, nbytes, max_threads) in enumerate(kernels):
            offs = [params[p.name] for p in f.params]
            sizes = [p.size for p in f.params]
            out.append('static const uint32_t offsets_%d[] = {%s}, sizes_%d[] = {%s};' % (
                i, ','.join(map(str, offs or [0])), i, ','.join(map(str, sizes or [0]))))
            rows.append('{%s, %s, %d, %d, %d, %d, offsets_%d, sizes_%d, %d}' % (
                c_string(f.name), symbol, static, dyn, nbytes, len(offs), i, i, max_threads))
        out.append('static const KernelInfo kernels[] = {%s};' % ',\n'.join(rows or ['{}']))
        out.append('static const Site sites[] = {%s};' % ','.join('{%d,%d,%d,%d,%d}' % s for s in self.sites))
        nfiles = max(self.ptx.files, default=0) + 1
        out.append('static const char* const files[] = {%s};' % ',\n'.join(
            c_string(self.ptx.files.get(i, '')) for i in range(nfiles)))
        out.append('extern "C" __attribute__((visibility("default"))) const ModuleInfo cudasim_module;')
        out.append('const ModuleInfo cudasim_module = {kModuleAbi, %s, kernels, %d, globals, %d, cudasim_globals, relocs, %d, '
                   'sites, %d, files, %d};' % (c_string(self.ptx_path), len(kernels), len(self.globals), len(reloc_rows),
                                               len(self.sites), nfiles))
        return '\n'.join(out) + '\n'


def translate(source, ptx_path, out_dir):
    t = ModuleTranslator(source, ptx_path)
    units = t.write(out_dir)
    return units, t.unsupported


if __name__ == '__main__':
    os.makedirs(sys.argv[2], exist_ok=True)
    units, unsupported = translate(open(sys.argv[1]).read(), os.path.abspath(sys.argv[1]), sys.argv[2])
    for what, line in unsupported.items():
        print('translate.py: line %d: unsupported instruction %s' % (line, what), file=sys.stderr)
    print(' '.join(units))
