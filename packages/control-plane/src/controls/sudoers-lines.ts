/**
 * What sudo takes for a parameter of `Defaults`, one value of each scope: that for everybody first, then those of users, hosts and
 * commands, which override it. Of a scope the last line counts; `!name` is 0. `null` when nothing is said for everybody.
 */
export function sudoDefault(lines: readonly string[], name: string): readonly string[] | null {
  const values = new Map<string, string>()
  for (const line of joined(lines)) {
    const [, scope, parameters = ''] = /^Defaults([:@!>][^ ]*)? +(.*)$/s.exec(line) ?? []
    for (const parameter of parameters.match(/(?:[^,"]|"[^"]*")+/g) ?? []) {
      const [, negated, key, value] = /^ *(!?)([a-z_]+)(?: *[+-]?= *"?([^"]*?)"?)? *$/.exec(parameter) ?? []
      if (key === name) values.set(scope ?? '', negated === '!' ? '0' : (value ?? ''))
    }
  }
  const everybody = values.get('')
  values.delete('')
  return everybody === undefined ? null : [everybody, ...values.values()]
}

/** The lines that let somebody become another without being asked for a password. */
export function sudoWithoutPassword(lines: readonly string[]): readonly string[] {
  return joined(lines).filter(
    (line) => /(^|[ =:),])NOPASSWD ?:/.test(line) || /^Defaults.*!authenticate/s.test(line),
  )
}

/** A line that ends in a backslash goes on with the next. */
function joined(lines: readonly string[]): readonly string[] {
  const whole: string[] = []
  let before = ''
  for (const line of lines) {
    const text = `${before}${line}`
    before = text.endsWith('\\') ? `${text.slice(0, -1).trimEnd()} ` : ''
    if (before === '') whole.push(text)
  }
  return before === '' ? whole : [...whole, before.trimEnd()]
}
