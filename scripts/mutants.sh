#!/usr/bin/env bash
# Mutation testing: small faults are put into the code one at a time, and the tests must notice. A seeded sample of each
# group of modules; ends with 1 where fewer than 90 % are noticed in a group. What is not mutated: scripts/mutants.py.
#
#   bash scripts/mutants.sh                            100 mutants of each group, on two cores in under 40 minutes
#   bash scripts/mutants.sh --seed 7 --sample 40       another sample, a smaller one
#   bash scripts/mutants.sh metrics fold               only these; the others are conversion and answers
#
# mutmut is installed into .cache/mutants/environment, which sees the packages of .venv; the code is mutated in a copy.

needs_everything=true
source "$(dirname "$0")/_common.sh"

check_flags scripts/mutants.py "$@"
wanted=mutmut==3.8.1
environment=.cache/mutants/environment
if [[ $(cat "$environment/installed" 2>/dev/null) != "$wanted" ]]; then
    rm -rf "$environment"
    "$PYTHON" -m venv "$environment"
    "$environment/bin/python" -m pip install -qq --disable-pip-version-check -c requirements.txt "$wanted"
    find_packages='import sysconfig; print(sysconfig.get_path("purelib"))'
    "$PYTHON" -c "$find_packages" >"$("$environment/bin/python" -c "$find_packages")/project.pth"
    echo "$wanted" >"$environment/installed"
fi

# One thread a process: a mutant is a fork, and the threads of OpenMP do not survive one.
export OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false MOBILEBERT_QUIET=1
unset MOBILEBERT_DATA
exec "$environment/bin/python" scripts/mutants.py "$@"
