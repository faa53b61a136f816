"""Builds the stand-in libraries and the translated modules, both cached by content."""
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SRC = os.path.join(HOME, 'src')
TRANSLATOR = os.path.join(HOME, 'tool', 'translator')
sys.path.insert(0, TRANSLATOR)

CXX = os.environ.get('CUDASIM_CXX', 'g++')
COMMON = ['-std=gnu++20', '-fPIC', '-ffp-contract=off', '-fno-strict-aliasing', '-fno-math-errno', '-pthread']
MODULE_FLAGS = COMMON + ['-fvisibility=hidden', '-fno-exceptions', '-fno-rtti', '-fstack-clash-protection',
                         '-w', '-I', SRC]


class BuildError(Exception):
    pass


def cache_root():
    """$CUDASIM_CACHE, else a folder of its own where the user's caches are."""
    caches = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    return os.path.abspath(os.environ.get('CUDASIM_CACHE') or os.path.join(caches, 'cudasim'))


def source_files():
    for base in (SRC, TRANSLATOR):
        for d, dirs, files in os.walk(base):
            dirs.sort()
            for f in sorted(files):
                if f.endswith(('.h', '.cc', '.py')):
                    yield os.path.join(d, f)


def machine_flags():
    return ['-march=native'] if os.uname().machine == 'x86_64' else []


_tool_hash = None


def tool_hash():
    """Identifies the sources, the compiler and the CPU."""
    global _tool_hash
    if _tool_hash is None:
        h = hashlib.sha256()
        for f in source_files():
            h.update(os.path.relpath(f, HOME).encode() + b'\0' + open(f, 'rb').read())
        h.update(subprocess.run([CXX, '-dumpfullversion', '-dumpversion'], capture_output=True).stdout)
        with contextlib.suppress(OSError):
            h.update(re.search(r'^flags.*$', open('/proc/cpuinfo').read(), re.M)[0].encode())
        _tool_hash = h.hexdigest()[:16]
    return _tool_hash


def tool_dir():
    return os.path.join(cache_root(), tool_hash())


def lib_dir():
    return os.path.join(tool_dir(), 'lib')


def modules_dir():
    return os.path.join(tool_dir(), 'modules')


@contextlib.contextmanager
def locked(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def clean_env():
    env = dict(os.environ)
    env.pop('LD_PRELOAD', None)
    if lib_dir() in env.get('LD_LIBRARY_PATH', ''):
        env.pop('LD_LIBRARY_PATH')
    return env


def compile_all(jobs):
    """Runs compiler commands in parallel."""
    def one(cmd):
        r = subprocess.run(cmd, capture_output=True, text=True, env=clean_env())
        if r.returncode:
            raise BuildError('%s\n%s' % (' '.join(cmd), r.stderr[-4000:]))
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        list(pool.map(one, jobs))


# Stand-in libraries.

def cuda_include():
    candidates = [os.environ.get('CUDASIM_CUDA_INCLUDE')]
    for var in ('CUDA_HOME', 'CUDA_PATH'):
        if os.environ.get(var):
            candidates.append(os.path.join(os.environ[var], 'include'))
    nvcc = shutil.which('nvcc')
    if nvcc:
        candidates.append(os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(nvcc))), 'include'))
    candidates += ['/usr/local/cuda/include', '/usr/include']
    for c in candidates:
        if c and os.path.exists(os.path.join(c, 'cuda_runtime_api.h')):
            return c
    raise BuildError('the CUDA headers were not found; set CUDASIM_CUDA_INCLUDE')


def defined_symbols(objects):
    out = subprocess.run(['nm', '-g', '--defined-only', '-P'] + objects, capture_output=True, text=True).stdout
    return {line.split()[0] for line in out.splitlines() if line and not line.endswith(':')}


def stub_source(header_names, pattern, objects, status, library):
    """Functions of the real library that are not implemented: they say so and return an error."""
    names = set()
    for h in header_names:
        path = os.path.join(cuda_include(), h)
        if os.path.exists(path):
            names.update(re.findall(pattern, open(path, errors='replace').read()))
    missing = sorted(names - defined_symbols(objects))
    lines = ['#include <cstdio>', 'static int missing(const char* n) { fprintf(stderr, "cudasim: %%s is not implemented by the '
             'stand-in %s\\n", n); return %d; }' % (library, status)]
    for n in missing:
        lines.append('extern "C" int %s() { return missing("%s"); }' % (n, n))
    return '\n'.join(lines) + '\n'


LIBRARIES = [
    ('libcudart.so.13', ['runtime', 'cudart'], ['cuda_runtime_api.h'], r'CUDARTAPI\s+(cuda\w+)\s*\(', 801, ['-lboost_context']),
    ('libcublasLt.so.13', ['cublas/lt', 'cublas/common'], ['cublasLt.h'], r'CUBLASWINAPI\s+(cublasLt\w+)\s*\(', 15, ['cudart']),
    ('libcublas.so.13', ['cublas/blas', 'cublas/common'], ['cublas_api.h', 'cublas_v2.h'], r'CUBLASWINAPI\s+(cublas\w+)\s*\(', 15, ['cudart']),
]


def ensure_runtime():
    done = os.path.join(lib_dir(), 'complete')
    if os.path.exists(done):
        return
    with locked(os.path.join(tool_dir(), 'lib.lock')):
        if os.path.exists(done):
            return
        if not os.path.exists('/usr/include/boost/context/detail/fcontext.hpp'):
            raise BuildError('needs packages that are not installed: apt-get install g++ python3 libboost-context-dev libzstd1')
        os.makedirs(lib_dir(), exist_ok=True)
        with tempfile.TemporaryDirectory(dir=tool_dir()) as tmp:
            jobs, objects = [], {}
            for name, dirs, _, _, _, _ in LIBRARIES:
                for d in dirs:
                    folder = os.path.join(SRC, d)
                    for f in sorted(os.listdir(folder)):
                        if f.endswith('.cc'):
                            o = os.path.join(tmp, name + '.' + d.replace('/', '_') + '.' + f + '.o')
                            level = '-O3' if 'cublas' in d else '-O2'
                            jobs.append([CXX] + COMMON + machine_flags() + [level, '-g1', '-I', cuda_include(), '-I', SRC,
                                                                           '-c', os.path.join(folder, f), '-o', o])
                            objects.setdefault(name, []).append(o)
            compile_all(jobs)
            for name, _, headers, pattern, status, libs in LIBRARIES:
                stub = os.path.join(tmp, name + '.stubs.cc')
                open(stub, 'w').write(stub_source(headers, pattern, objects[name], status, name))
                script = os.path.join(tmp, name + '.map')
                open(script, 'w').write('%s { global: *; };\n' % name)
                link = ['-lboost_context', '-ldl'] if libs != ['cudart'] else [os.path.join(lib_dir(), 'libcudart.so.13'), '-Wl,-rpath,$ORIGIN']
                out = os.path.join(tmp, name)
                compile_all([[CXX] + COMMON + ['-w', '-O1', '-shared', '-Wl,-soname,' + name, '-Wl,--version-script,' + script,
                                              stub] + objects[name] + link + ['-o', out]])
                os.replace(out, os.path.join(lib_dir(), name))
        open(done, 'w').close()


# Modules.

def module_file(key):
    return os.path.join(modules_dir(), key, 'module.so')


def prepare_modules(entries, verbose=False):
    """Translates and compiles all given fat binary entries that are not in the cache yet."""
    wanted = {e.key: e for e in entries}
    missing = [e for k, e in wanted.items() if not os.path.exists(module_file(k))]
    if not missing:
        return
    with contextlib.ExitStack() as stack:
        for e in sorted(missing, key=lambda e: e.key):    # fixed order: concurrent runs cannot deadlock
            stack.enter_context(locked(os.path.join(modules_dir(), e.key + '.lock')))
        missing = [e for e in missing if not os.path.exists(module_file(e.key))]
        jobs, links = [], []
        for e in missing:
            folder = os.path.join(modules_dir(), e.key)
            os.makedirs(folder, exist_ok=True)
            ptx = os.path.join(folder, 'module.ptx')
            open(ptx, 'w').write(e.text())
            units = run_translator(ptx, folder, verbose)
            objects = []
            for u in units:
                o = os.path.join(folder, u + '.o')
                level = '-O1' if '.big.' in u else os.environ.get('CUDASIM_OPT', '-O2')
                jobs.append((os.path.getsize(os.path.join(folder, u)),
                             [CXX] + MODULE_FLAGS + machine_flags() + [level, '-I', folder, '-c', os.path.join(folder, u), '-o', o]))
                objects.append(o)
            links.append((e, folder, objects))
        compile_all([cmd for _, cmd in sorted(jobs, key=lambda j: -j[0])])
        for e, folder, objects in links:
            tmp = os.path.join(folder, 'module.so.tmp')
            compile_all([[CXX, '-shared', '-o', tmp] + objects + [os.path.join(lib_dir(), 'libcudart.so.13'), '-Wl,-rpath,' + lib_dir()]])
            os.replace(tmp, module_file(e.key))
            for o in objects:
                os.unlink(o)


def run_translator(ptx, folder, verbose):
    import translate
    units, unsupported = translate.translate(open(ptx).read(), ptx, folder)
    with open(os.path.join(folder, 'unsupported.txt'), 'w') as f:
        for what, line in unsupported.items():
            f.write('PTX line %d: %s\n' % (line, what))
    if unsupported and verbose:
        for what, line in unsupported.items():
            print('cudasim: %s:%d: unsupported instruction %s (a fault if it is executed)' % (ptx, line, what), file=sys.stderr)
    return units
