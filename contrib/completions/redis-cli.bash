# bash completion of redis-cli. Made from the table of options; see crates/cli/tests/generated.rs.
_redis_cli() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    case $before in
        -s|--cacert|--cacertdir|--cert|--key|--rdb|--functions-rdb|--eval) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        -h|-p|-t|-a|--pass|--user|-u|-n|--sni|--tls-ciphers|--tls-ciphersuites|-r|-i|-X|-d|-D|--show-pushes|--pattern|--quoted-pattern|--count|--cursor|--memkeys-samples|--keystats-samples|--top|--intrinsic-latency|--lru-test|--pipe-timeout|--cluster) return ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '-h -p -t -s -a --pass --user --askpass --no-auth-warning -u -n -2 -3 -4 -6 -c --tls --sni --cacert --cacertdir --insecure --cert --key --tls-ciphers --tls-ciphersuites -r -i -x -X -e --quoted-input -d -D --raw --no-raw --csv --json --quoted-json --show-pushes --scan --pattern --quoted-pattern --count --cursor --bigkeys --memkeys --memkeys-samples --keystats --keystats-samples --hotkeys --top --no-progress --live --stat --latency --latency-history --latency-dist --intrinsic-latency --lru-test --pipe --pipe-timeout --rdb --functions-rdb --replica --slave --eval --ldb --ldb-sync-mode --cluster --verbose --help --version -v' -- "$word")
    fi
}
complete -F _redis_cli redis-cli spinel-cli
