# makeWrapper, with the options that our packages use; what it does not know is an error, as in nixpkgs.
makeWrapper() {
  local program=$1 wrapper=$2 flags=
  shift 2
  [ -x "$program" ] || { echo "makeWrapper: $program is not executable" >&2; return 1; }
  mkdir -p "$(dirname "$wrapper")"
  echo '#!/bin/bash -e' > "$wrapper"
  while [ $# -gt 0 ]; do
    case $1 in
      --set-default) printf "%s=\${%s-%q}\nexport %s\n" "$2" "$2" "$3" "$2" >> "$wrapper"; shift 3 ;;
      --suffix) printf "export %s=\${%s:+\$%s%s}%q\n" "$2" "$2" "$2" "$3" "$4" >> "$wrapper"; shift 4 ;;
      --add-flags) flags="$flags $2"; shift 2 ;;
      *) echo "makeWrapper: unknown option $1" >&2; return 1 ;;
    esac
  done
  printf 'exec "%s" %s "$@"\n' "$program" "$flags" >> "$wrapper"
  chmod +x "$wrapper"
}
