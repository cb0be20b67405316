# Completion of nbdkit's command line for bash. Source it, or install it as
# /usr/share/bash-completion/completions/nbdkit. It needs no library: the server itself tells its options.

# The bare names of modules, $1 being filter or plugin: those of this server, and installed ones.
_nbdkit_modules() {
  local kind=$1 key value installed='' ours='' path
  while IFS='=' read -r key value; do
    case $key in
      "${kind}dir") installed=$value ;;
      bindir) ours=${value%/bin}/${kind}s ;;
    esac
  done < <("${COMP_WORDS[0]}" --dump-config 2>/dev/null)
  for path in "$installed/nbdkit-"*"-$kind.so" "$installed/nbdkit-"*"-$kind"; do
    [ -e "$path" ] || continue
    path=${path##*/nbdkit-}
    printf '%s\n' "${path%-"$kind"*}"
  done
  for path in "$ours"/*/; do
    [ -d "$path" ] || continue
    path=${path%/}
    printf '%s\n' "${path##*/}"
  done
}

# The options --filter among the words, and the plugin: what --help needs to tell the parameters.
_nbdkit_layers() {
  local i word previous='' plugin=''
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
      =) continue ;;
    esac
    case $previous in
      --filter) printf '%s\n' "--filter=$word" ;;
      --debug | --export | --export-name | --exportname | --filter-generation | --group) ;;
      --ip-addr | --ipaddr | --listen | --log | --mask-handshake | --name | --pid-file | --pidfile | --port) ;;
      --run | --selinux-label | --shutdown-timeout | --threads | --time-out | --timeout | --tls | --tls-certificates) ;;
      --tls-priority | --tls-psk | --unix | --user) ;;
      -D | -e | -g | -i | -P | -p | -t | -U | -u) ;;
      *)
        case $word in
          -*) ;;
          *) [ -n "$plugin" ] || plugin=$word ;;
        esac
        ;;
    esac
    previous=$word
  done
  [ -z "$plugin" ] || printf '%s\n' "$plugin"
}

_nbdkit() {
  local current=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} layers words=''
  # bash takes --tls=on for three words.
  if [ "$current" = = ]; then
    current=
  elif [ "$option" = = ] && ((COMP_CWORD >= 3)); then
    option=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  COMPREPLY=()
  case $option in
    --filter) words=$(_nbdkit_modules filter | sort -u) ;;
    --tls) words='off on require' ;;
    --log) words='stderr syslog null default' ;;
    -g | --group) mapfile -t COMPREPLY < <(compgen -g -- "$current") && return ;;
    -u | --user) mapfile -t COMPREPLY < <(compgen -u -- "$current") && return ;;
    -i | --ip-addr | --ipaddr) mapfile -t COMPREPLY < <(compgen -A hostname -- "$current") && return ;;
    --run) mapfile -t COMPREPLY < <(compgen -c -- "$current") && return ;;
    -P | --pid-file | --pidfile | -U | --unix | --tls-certificates | --tls-psk) return ;;
    -D | --debug | -e | --export | --export-name | --exportname | --filter-generation | --listen) return ;;
    --name | --tls-priority) return ;;
    --mask-handshake | -p | --port | --selinux-label | --shutdown-timeout | -t | --threads) return ;;
    --time-out | --timeout) return ;;
    *)
      mapfile -t layers < <(_nbdkit_layers)
      if [[ $current == @* ]]; then
        mapfile -t COMPREPLY < <(compgen -f -P @ -- "${current#@}")
        return
      elif [[ $current == --* ]]; then
        words=$("${COMP_WORDS[0]}" --long-options 2>/dev/null)
      elif [[ $current == -* ]]; then
        words=$("${COMP_WORDS[0]}" --short-options 2>/dev/null)
        words+=$'\n'$("${COMP_WORDS[0]}" --long-options 2>/dev/null)
      elif [[ ${#layers[@]} -eq 0 || ${layers[-1]} == --filter=* ]]; then
        words=$(_nbdkit_modules plugin | sort -u)
      elif [[ ${COMP_WORDS[COMP_CWORD]} != = && ${COMP_WORDS[COMP_CWORD - 1]} != = ]]; then
        words=$("${COMP_WORDS[0]}" "${layers[@]}" --help 2>/dev/null |
          sed '/^Usage: nbdkit /,$d' | grep -oE '(^|[[ |])[A-Za-z][A-Za-z0-9._-]*=' | tr -d '[ |' | sort -u)
        [[ -z $words ]] || compopt -o nospace 2>/dev/null
      fi
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

# Where nothing fits, names of files do.
complete -o default -F _nbdkit nbdkit
