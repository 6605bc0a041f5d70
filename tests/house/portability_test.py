"""Code for one family of processors is behind its guard, with something else for the others: all must compile for arm64 too."""

import re

import tree

# Names of x86 alone: what another compiler would stop at.
X86 = re.compile(r"(?<![.>])\btarget(?:_clones)?\s*\(|\barch=x86|__builtin_cpu_(?:supports|is|init)|<(?:cpuid|[a-z]*mmintrin|immintrin|x86intrin)\.h>"
                 r"|\b_mm(?:256|512)?_[a-z]|__m(?:128|256|512)|__get_cpuid|\b__rdtsc\b")
GUARD = re.compile(r"#\s*if(?:def\s+|.*\bdefined\s*\(?\s*)__x86_64__")


def unguarded(text):
    """Numbers of the lines that name x86 where nothing says that it is one."""
    wrong, guards = [], []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("//")[0]
        directive = re.match(r"\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b", line)
        if directive is None:
            if X86.search(line) and not any(guards):
                wrong.append(number)
        elif directive[1] in ("if", "ifdef", "ifndef"):
            guards.append(GUARD.match(line.lstrip()) is not None)
        elif directive[1] == "endif":
            guards.pop()
        else:
            guards[-1] = False
    return wrong


def test_what_is_wrong_is_seen():
    assert unguarded("#include <immintrin.h>\n") == [1]
    assert unguarded('#if defined(__x86_64__) && !defined(A)\n#pragma GCC target("avx2")\n#else\n__m256 x;\n#endif\nint f = __builtin_cpu_supports("avx");') == [4, 6]
    assert unguarded("#ifdef __x86_64__\n#if B\n__m512 y;\n#endif\n#endif\n// target(\"avx\")") == []
    assert unguarded("row.target();\nrow->target();") == []


def test_every_use_of_x86_is_behind_its_guard():
    wrong = [f"{path}:{number}" for path in tree.files(".h", ".cc") for number in unguarded(tree.text(path))]
    assert not wrong


def test_one_file_says_for_which_processors_kernels_are_cloned():
    assert [path for path in tree.files(".h", ".cc") if "target_clones" in tree.text(path)] == ["worker/engine/kernels/cpu_clones.h"]
