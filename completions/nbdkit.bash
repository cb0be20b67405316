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

# --- begin: written by `npm run completions` from src/cli/options.ts
# Sets takes to what the value of the option $1 may be: a kind of names, a colon, and words.
# Fails if the option takes no value.
_nbdkit_takes() {
  case $1 in
    -D | --debug) takes=':' ;;
    -e | --exportname | --export | --export-name) takes=':' ;;
    --filter) takes='filters:' ;;
    --filter-generation) takes=':' ;;
    --filter-release) takes=':' ;;
    -g | --group) takes='groups:' ;;
    -i | --ipaddr | --ip-addr) takes='hosts:' ;;
    --listen) takes=':' ;;
    --log) takes='files:stderr syslog null default' ;;
    --mask-handshake) takes=':' ;;
    --name) takes=':' ;;
    -P | --pidfile | --pid-file) takes='files:' ;;
    -p | --port) takes=':' ;;
    --run) takes='commands:' ;;
    --selinux-label) takes=':' ;;
    --shutdown-timeout) takes=':' ;;
    -t | --threads) takes=':' ;;
    --timeout | --time-out) takes=':' ;;
    --tls) takes=':off on require' ;;
    --tls-certificates) takes='folders:' ;;
    --tls-priority) takes=':' ;;
    --tls-psk) takes='files:' ;;
    -U | --unix) takes='files:' ;;
    -u | --user) takes='users:' ;;
    *) return 1 ;;
  esac
}
# --- end

# The options --filter among the words, and the plugin: --help needs them to print the parameters.
_nbdkit_layers() {
  local i word takes previous='' plugin=''
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
      =) continue ;;
    esac
    if [ "$previous" = --filter ]; then
      printf '%s\n' "--filter=$word"
    elif ! _nbdkit_takes "$previous"; then
      case $word in
        -*) ;;
        *) [ -n "$plugin" ] || plugin=$word ;;
      esac
    fi
    previous=$word
  done
  [ -z "$plugin" ] || printf '%s\n' "$plugin"
}

_nbdkit() {
  local current=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} layers takes words=''
  # bash takes --tls=on for three words.
  if [ "$current" = = ]; then
    current=
  elif [ "$option" = = ] && ((COMP_CWORD >= 3)); then
    option=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  COMPREPLY=()
  if _nbdkit_takes "$option"; then
    case ${takes%%:*} in
      commands) mapfile -t COMPREPLY < <(compgen -c -- "$current") && return ;;
      filters) words=$(_nbdkit_modules filter | sort -u) ;;
      groups) mapfile -t COMPREPLY < <(compgen -g -- "$current") && return ;;
      hosts) mapfile -t COMPREPLY < <(compgen -A hostname -- "$current") && return ;;
      users) mapfile -t COMPREPLY < <(compgen -u -- "$current") && return ;;
      *) words=${takes#*:} ;;
    esac
  else
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
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

# Where nothing fits, names of files do.
complete -o default -F _nbdkit nbdkit
