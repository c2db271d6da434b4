import { remembered } from './remembered.ts'

/** One line of a PAM stack: the module without its directory, comments dropped, arguments in order of the alphabet. */
export function pamLine(line: string): string {
  const parsed = parsePamLine(line)
  return parsed === null ? line : [parsed.type, parsed.control, parsed.module, ...parsed.args].join(' ')
}

/** Kind and module alone: where a package lies, or how much a site demands of it, is not what such a rule is about. */
export function pamModule(line: string): string {
  const parsed = parsePamLine(line)
  return parsed === null ? line : `${parsed.type} ${parsed.module}`
}

/** Without arguments. A module that must succeed is `required`, whether the stack ends at once (`requisite`) or not. */
export function pamControl(line: string): string {
  const parsed = parsePamLine(line)
  if (parsed === null) return line
  return `${parsed.type} ${parsed.control === 'requisite' ? 'required' : parsed.control} ${parsed.module}`
}

/**
 * The values of an argument, one of each line that `asked` selects: `TYPE MODULE [WORD…] NAME [before MODULE]`. A line is selected
 * by its type, its module and every WORD among its arguments; with `before` only if the other module comes later in the stack.
 * `null` when no line is selected, or when one of them does not have the argument.
 */
export function pamArguments(lines: readonly string[], asked: string): readonly string[] | null {
  const [, selection = '', other] = /^(.*?)(?: before ([^ ]+))?$/.exec(asked) ?? []
  const [type, module, ...rest] = selection.split(' ')
  const name = rest.pop()
  const parsed = lines.map(parsePamLine)
  const end =
    other === undefined
      ? lines.length
      : parsed.findLastIndex((one) => one?.type === type && one?.module === other)
  const values = parsed
    .slice(0, Math.max(end, 0))
    .filter((one) => one !== null)
    .filter(
      (one) => one.type === type && one.module === module && rest.every((word) => one.args.includes(word)),
    )
    .map(({ args }) => args.findLast((argument) => argument.startsWith(`${name}=`)))
  if (values.length === 0) return null
  const found = values.flatMap((value) => (value === undefined ? [] : [value.slice(value.indexOf('=') + 1)]))
  return found.length === values.length ? found : null
}

type PamLine = {
  readonly type: string
  readonly control: string
  readonly module: string
  readonly args: readonly string[]
}

const parsePamLine = remembered((line: string): PamLine | null => {
  const comment = line.indexOf('#')
  const [, type, control, module, rest = ''] =
    /^([^ ]+) (\[[^\]]*\]|[^ ]+) ([^ ]+)(.*)$/s.exec(fold(comment < 0 ? line : line.slice(0, comment))) ?? []
  if (type === undefined || control === undefined || module === undefined) return null
  const args = rest.split(' ').filter((argument) => argument !== '')
  return { type, control, module: module.slice(module.lastIndexOf('/') + 1), args: args.sort(byBytes) }
})

function fold(text: string): string {
  return text.replace(/[ \t\r\n]+/g, ' ').replace(/^ | $/g, '')
}

const byBytes = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0)
