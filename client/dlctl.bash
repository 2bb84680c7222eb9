# bash completion for dlctl: verbs, options, job files.

# Files, those that the options of compgen let through, and directories; each a line, as names may have blanks.
_dlctl_files() {
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f "$@" -- "$cur"; compgen -d -- "$cur")
}

_dlctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb= i
    local global='--socket --json --help' states='queued waiting paused active done failed cancelled'

    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --socket) ((i++)) ;;
        -*) ;;
        *) verb=${COMP_WORDS[i]}; break ;;
        esac
    done
    case $prev in
    --socket) _dlctl_files; return ;;
    --state)
        [[ $verb == purge ]] && states='done failed cancelled'
        COMPREPLY=($(compgen -W "$states" -- "$cur")); return ;;
    --on-conflict) COMPREPLY=($(compgen -W 'fail overwrite rename skip' -- "$cur")); return ;;
    --batch | --host | --limit | --output | --header | --tag | --priority | --retries | --timeout | --max-size) return ;;
    esac
    case $verb in
    '') COMPREPLY=($(compgen -W "submit list show wait status hosts cancel pause resume retry set purge drain backup reload $global --version" -- "$cur")) ;;
    submit)
        if [[ $cur == -* ]]; then
            COMPREPLY=($(compgen -W "--wait --output --on-conflict --header --tag --priority --retries --timeout --max-size $global" -- "$cur"))
        else
            _dlctl_files -X '!*.json'
        fi ;;
    list) COMPREPLY=($(compgen -W "--state --batch --tag --limit $global" -- "$cur")) ;;
    wait) COMPREPLY=($(compgen -W "--batch --all $global" -- "$cur")) ;;
    cancel | pause | resume | retry) COMPREPLY=($(compgen -W "--batch --tag --host --all $global" -- "$cur")) ;;
    set)
        COMPREPLY=($(compgen -W "rate= rate=none rate=default priority= --batch --tag --host --all $global" -- "$cur")) ;;
    purge) COMPREPLY=($(compgen -W "--batch --tag --all --state $global" -- "$cur")) ;;
    backup) _dlctl_files ;;
    drain) COMPREPLY=($(compgen -W "--off $global" -- "$cur")) ;;
    status) COMPREPLY=($(compgen -W "--batch $global" -- "$cur")) ;;
    show | hosts | reload) COMPREPLY=($(compgen -W "$global" -- "$cur")) ;;
    esac
}
complete -F _dlctl dlctl
