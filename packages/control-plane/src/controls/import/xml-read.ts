/** An element: its name without prefix, attributes as they are written, and its children in their order. */
export type XmlElement = {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  readonly children: readonly (XmlElement | string)[]
}

export class XmlError extends Error {
  override readonly name: string = 'XmlError'
}

/**
 * Reads XML 1.0 as checklists and benchmarks use it. Document types are refused, so there are no entities but the five
 * predefined ones and characters by number, and nothing outside of the text is ever read.
 * @throws {XmlError} with the place in the text.
 */
export function readXml(text: string): XmlElement {
  // XML 1.0, 2.11: every end of a line is one line feed.
  const state: State = { text: text.replace(/^\u{feff}/u, '').replace(/\r\n?/g, '\n'), at: 0, elements: 0 }
  skipMisc(state)
  if (state.text[state.at] !== '<') throw fault(state, 'expected an element')
  const root = readElement(state, 0)
  skipMisc(state)
  if (state.at !== state.text.length) throw fault(state, 'expected the end after the root element')
  return root
}

export function childrenOf(element: XmlElement, name: string): readonly XmlElement[] {
  return element.children.flatMap((child) =>
    typeof child !== 'string' && child.name === name ? [child] : [],
  )
}

export function childOf(element: XmlElement, name: string): XmlElement | undefined {
  return childrenOf(element, name)[0]
}

/** All text inside, or the empty text. */
export function textOf(element: XmlElement | undefined): string {
  if (element === undefined) return ''
  return element.children.map((child) => (typeof child === 'string' ? child : textOf(child))).join('')
}

type State = { readonly text: string; at: number; elements: number }

/** Declarations, comments and white space around the root element. */
function skipMisc(state: State): void {
  for (;;) {
    while (/\s/.test(state.text[state.at] ?? '')) state.at += 1
    if (state.text.startsWith('<?', state.at)) skipPast(state, '?>')
    else if (state.text.startsWith('<!--', state.at)) skipPast(state, '-->')
    else if (state.text.startsWith('<!', state.at)) throw fault(state, 'document types are not read')
    else return
  }
}

function readElement(state: State, depth: number): XmlElement {
  state.elements += 1
  if (depth > DEPTH_MAX) throw fault(state, `more than ${DEPTH_MAX} elements inside each other`)
  if (state.elements > ELEMENTS_MAX) throw fault(state, `more than ${ELEMENTS_MAX} elements`)
  const name = match(state, TAG_OPEN)
  if (name === null) throw fault(state, 'expected the name of an element')
  const attributes: Record<string, string> = Object.create(null)
  for (;;) {
    const attribute = match(state, ATTRIBUTE)
    if (attribute === null) break
    const [, key = '', double, single] = attribute
    if (Object.hasOwn(attributes, key)) throw fault(state, `the attribute ${key} stands twice`)
    attributes[key] = unescapeXml(state, double ?? single ?? '')
  }
  const end = match(state, TAG_END)
  if (end === null) throw fault(state, `the element ${name[1]} does not end its tag`)
  const element = { name: local(name[1] ?? ''), attributes }
  return end[1] === '/'
    ? { ...element, children: [] }
    : { ...element, children: readChildren(state, name[1] ?? '', depth) }
}

function readChildren(state: State, name: string, depth: number): (XmlElement | string)[] {
  const children: (XmlElement | string)[] = []
  for (;;) {
    const next = state.text.indexOf('<', state.at)
    if (next < 0) throw fault(state, `the element ${name} does not end`)
    if (next > state.at) children.push(unescapeXml(state, state.text.slice(state.at, next)))
    state.at = next
    if (state.text.startsWith('<!--', next)) skipPast(state, '-->')
    else if (state.text.startsWith('<![CDATA[', next)) {
      const end = state.text.indexOf(']]>', next)
      if (end < 0) throw fault(state, 'a CDATA section does not end')
      children.push(state.text.slice(next + 9, end))
      state.at = end + 3
    } else if (state.text.startsWith('<?', next)) skipPast(state, '?>')
    else if (state.text.startsWith('</', next)) {
      const closed = match(state, TAG_CLOSE)
      if (closed?.[1] !== name) throw fault(state, `expected </${name}>`)
      return children
    } else children.push(readElement(state, depth + 1))
  }
}

function match(state: State, pattern: RegExp): RegExpExecArray | null {
  pattern.lastIndex = state.at
  const found = pattern.exec(state.text)
  if (found !== null) state.at = pattern.lastIndex
  return found
}

function skipPast(state: State, end: string): void {
  const at = state.text.indexOf(end, state.at)
  if (at < 0) throw fault(state, `expected ${end}`)
  state.at = at + end.length
}

function unescapeXml(state: State, text: string): string {
  return text.replace(/&([^;&]{0,12});?/g, (whole, name: string) => {
    const known = ENTITIES.get(name)
    if (known !== undefined && whole.endsWith(';')) return known
    const [, hexadecimal, decimal] = /^#(?:x([0-9A-Fa-f]{1,6})|([0-9]{1,7}))$/.exec(name) ?? []
    const code = Number.parseInt(hexadecimal ?? decimal ?? '', hexadecimal === undefined ? 10 : 16)
    if (!whole.endsWith(';') || !isCharacter(code))
      throw fault(state, `${JSON.stringify(whole)} is no entity`)
    return String.fromCodePoint(code)
  })
}

/** XML 1.0, 2.2: no control characters but three, and no halves of surrogate pairs. NaN is none either. */
function isCharacter(code: number): boolean {
  if (code < 0x20) return code === 0x9 || code === 0xa || code === 0xd
  return code <= 0xd7ff || (code >= 0xe000 && code <= 0xfffd) || (code >= 0x10000 && code <= 0x10ffff)
}

function local(name: string): string {
  return name.slice(name.indexOf(':') + 1)
}

function fault({ text, at }: State, message: string): XmlError {
  return new XmlError(`line ${text.slice(0, at).split('\n').length}: ${message}`)
}

const NAME = '[A-Za-z_][A-Za-z0-9_.:-]{0,100}'
const TAG_OPEN = new RegExp(`<(${NAME})`, 'y')
const TAG_CLOSE = new RegExp(`</(${NAME})\\s*>`, 'y')
const TAG_END = /\s*(\/?)>/y
const ATTRIBUTE = new RegExp(`\\s+(${NAME})\\s*=\\s*(?:"([^"<]*)"|'([^'<]*)')`, 'y')
const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
])
/** Groups of benchmarks nest a few levels deep; a benchmark of Windows has some ten thousand elements. */
const DEPTH_MAX = 64
const ELEMENTS_MAX = 200_000
