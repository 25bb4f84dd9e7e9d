import { quoted, type Word, type Words } from './words.ts'

/** Completion for zsh, as that of bash, with what each word means. Where nothing is known, files are completed. */
export const zsh = (places: Words[]): string => `#compdef freehold
# Completion of freehold for zsh: eval "$(freehold completion zsh)", after compinit
_freehold() {
  local place='' word value=''
  local -i at
  local -a found
  for ((at = 2; at < CURRENT; at++)); do
    word="\${words[at]}"
    case "$place:$word" in
${places.flatMap((one) => [valued(one), below(one)]).join('')}    esac
  done
  if ((at > CURRENT)); then
    case "$place:$value" in
${places.map(choices).join('')}    esac
    if ((\${#found})); then compadd -a found; else _files; fi
    return
  fi
  if [[ "\${words[CURRENT]}" == -* ]]; then
    case "$place" in
${places.map(({ path, options }) => `      ${quoted(path)}) found=(${described(options)}) ;;\n`).join('')}    esac
    _describe option found
    return
  fi
  case "$place" in
${places.map(operands).join('')}    *) _files; return ;;
  esac
  _describe command found
}
if [[ "\${funcstack[1]}" == _freehold ]]; then _freehold "$@"; else compdef _freehold freehold; fi
`

const valued = ({ path, values }: Words) => {
  const flags = values.flatMap((value) => value.flags)
  return flags.length ? `      ${flags.map((flag) => quoted(`${path}:${flag}`)).join(' | ')}) value="$word"; ((at++)) ;;\n` : ''
}

const below = ({ path, commands }: Words) =>
  commands
    .map(({ word }) => `      ${quoted(`${path}:${word}`)}) place=${quoted(path === '' ? word : `${path} ${word}`)} ;;\n`)
    .join('')

const choices = ({ path, values }: Words) =>
  values
    .filter((value) => value.choices.length)
    .map(
      ({ flags, choices }) =>
        `      ${flags.map((flag) => quoted(`${path}:${flag}`)).join(' | ')}) found=(${choices.map(quoted).join(' ')}) ;;\n`,
    )
    .join('')

const operands = ({ path, commands, choices }: Words) => {
  const known = [...commands, ...choices.map((word) => ({ word, about: '' }))]
  return known.length ? `    ${quoted(path)}) found=(${described(known)}) ;;\n` : ''
}

const described = (words: Word[]) =>
  words.map(({ word, about }) => quoted(about === '' ? word : `${word.replaceAll(':', '\\:')}:${about}`)).join(' ')
