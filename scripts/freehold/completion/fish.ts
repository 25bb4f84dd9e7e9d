import type { Words } from './words.ts'

/** Completion for fish. Each rule holds at one place: after the names of a command, wherever its options are. */
export const fish = (
  places: Words[],
): string => `# Completion of freehold for fish: freehold completion fish > ~/.config/fish/completions/freehold.fish
function __freehold_at
    set -l place ''
    set -l skip no
    for word in (commandline -opc)[2..]
        if test $skip = yes
            set skip no
            continue
        end
        switch "$place:$word"
${places.flatMap((place) => [valued(place), below(place)]).join('')}        end
    end
    test "$place" = "$argv[1]"
end
${places.map(rules).join('')}`

const valued = ({ path, values }: Words) => {
  const flags = values.flatMap((value) => value.flags)
  return flags.length
    ? `            case ${flags.map((flag) => text(`${path}:${flag}`)).join(' ')}\n                set skip yes\n`
    : ''
}

const below = ({ path, commands }: Words) =>
  commands
    .map(
      ({ word }) =>
        `            case ${text(`${path}:${word}`)}\n                set place ${text(path === '' ? word : `${path} ${word}`)}\n`,
    )
    .join('')

function rules({ path, commands, options, values, choices }: Words): string {
  const at = `complete -c freehold -n ${text(`__freehold_at ${text(path)}`)}`
  const operands = [...commands, ...choices.map((word) => ({ word, about: '' }))].map(
    ({ word, about }) => `${at} -f -a ${text(word)}${about === '' ? '' : ` -d ${text(about)}`}\n`,
  )
  const flags = options.map(({ word, about }) => {
    const value = values.find((one) => one.flags.includes(word))
    const takes = value === undefined ? '' : value.choices.length ? ` -x -a ${text(value.choices.join(' '))}` : ' -r'
    const flag = word.startsWith('--') ? `-l ${word.slice(2)}` : `-s ${word.slice(1)}`
    return `${at} ${flag}${takes} -d ${text(about)}\n`
  })
  return [...operands, ...flags].join('')
}

/** A text in single quotes, for fish. */
const text = (given: string) => `'${given.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
