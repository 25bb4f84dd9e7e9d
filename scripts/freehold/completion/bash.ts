import { quoted, type Words } from './words.ts'

/**
 * Completion for bash 3.2 and later. The words before the cursor are walked to find the command; values of options are passed over. Where
 * nothing is known, bash completes files.
 */
export const bash = (places: Words[]): string => `# Completion of freehold for bash: eval "$(freehold completion bash)"
_freehold() {
  local path='' word at value='' current="\${COMP_WORDS[COMP_CWORD]}" words=''
  for ((at = 1; at < COMP_CWORD; at++)); do
    word="\${COMP_WORDS[at]}"
    case "$path:$word" in
${places.flatMap((place) => [valued(place), below(place)]).join('')}    esac
  done
  if [[ $at -gt $COMP_CWORD ]]; then
    case "$path:$value" in
${places.map(choices).join('')}    esac
  else
    case "$path" in
${places.map(all).join('')}    esac
    [[ $current == -* ]] || words="\${words##*|}"
    words="\${words//|/ }"
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _freehold freehold
`

/** An option with a value: the next word is its value. */
const valued = ({ path, values }: Words) => {
  const flags = values.flatMap((value) => value.flags)
  return flags.length
    ? `      ${flags.map((flag) => quoted(`${path}:${flag}`)).join(' | ')}) value="$word" at=$((at + 1)) ;;\n`
    : ''
}

const below = ({ path, commands }: Words) =>
  commands
    .map(({ word }) => `      ${quoted(`${path}:${word}`)}) path=${quoted(path === '' ? word : `${path} ${word}`)} ;;\n`)
    .join('')

const choices = ({ path, values }: Words) =>
  values
    .filter((value) => value.choices.length)
    .map(
      ({ flags, choices }) =>
        `      ${flags.map((flag) => quoted(`${path}:${flag}`)).join(' | ')}) words=${quoted(choices.join(' '))} ;;\n`,
    )
    .join('')

/** Options, and behind the bar what is no option. */
const all = ({ path, options, commands, choices }: Words) =>
  `      ${quoted(path)}) words=${quoted(`${options.map(({ word }) => word).join(' ')}|${[...commands.map(({ word }) => word), ...choices].join(' ')}`)} ;;\n`
