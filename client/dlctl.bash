# bash completion for dlctl: verbs, options, job files.

_dlctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb= i
    local global='--socket --json --help'

    COMPREPLY=()
    case $prev in
    --socket) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    --state) COMPREPLY=($(compgen -W 'queued waiting paused active done failed cancelled' -- "$cur")); return ;;
    --on-conflict) COMPREPLY=($(compgen -W 'fail overwrite rename skip' -- "$cur")); return ;;
    --batch | --host | --limit | --output | --header | --tag | --priority | --retries | --timeout | --max-size) return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --socket) ((i++)) ;;
        -*) ;;
        *) verb=${COMP_WORDS[i]}; break ;;
        esac
    done
    case $verb in
    '') COMPREPLY=($(compgen -W "submit list show wait status hosts cancel pause resume retry set purge drain backup reload $global --version" -- "$cur")) ;;
    submit)
        if [[ $cur == -* ]]; then
            COMPREPLY=($(compgen -W "--wait --output --on-conflict --header --tag --priority --retries --timeout --max-size $global" -- "$cur"))
        else
            compopt -o filenames
            COMPREPLY=($(compgen -f -X '!*.json' -- "$cur") $(compgen -d -- "$cur"))
        fi ;;
    list) COMPREPLY=($(compgen -W "--state --batch --tag --limit $global" -- "$cur")) ;;
    wait) COMPREPLY=($(compgen -W "--batch --all $global" -- "$cur")) ;;
    cancel | pause | resume | retry) COMPREPLY=($(compgen -W "--batch --tag --host --all $global" -- "$cur")) ;;
    set)
        COMPREPLY=($(compgen -W "rate= rate=none rate=default priority= --batch --tag --host --all $global" -- "$cur")) ;;
    purge) COMPREPLY=($(compgen -W "--batch --tag --all --state $global" -- "$cur")) ;;
    backup) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")) ;;
    drain) COMPREPLY=($(compgen -W "--off $global" -- "$cur")) ;;
    status) COMPREPLY=($(compgen -W "--batch $global" -- "$cur")) ;;
    show | hosts | reload) COMPREPLY=($(compgen -W "$global" -- "$cur")) ;;
    esac
}
complete -F _dlctl dlctl
