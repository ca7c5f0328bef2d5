# bash completion of redis-check-rdb and redis-check-aof.
_redis_check() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options='--fix --truncate-to-timestamp --help --version'
    [[ ${COMP_WORDS[0]} == *-rdb ]] && options='--stats --format --output --help --version'
    COMPREPLY=()
    case $before in
        --format) mapfile -t COMPREPLY < <(compgen -W 'table info csv' -- "$word"); return ;;
        --truncate-to-timestamp) return ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -F _redis_check redis-check-rdb spinel-check-rdb redis-check-aof spinel-check-aof
