/**
 * The same function of a text, which keeps what it said of short texts lately: lines of configuration are the same on most
 * hosts, and several rules ask about each. What it returns is shared, so it must not be changed.
 */
export function remembered<Value>(read: (text: string) => Value): (text: string) => Value {
  const known = new Map<string, { readonly value: Value }>()
  return (text) => {
    if (text.length > LENGTH_MAX) return read(text)
    const said = known.get(text)
    if (said !== undefined) return said.value
    const value = read(text)
    // Hosts decide what is asked: they may fill it, but not more than that.
    if (known.size >= TEXTS_MAX) known.clear()
    known.set(text, { value })
    return value
  }
}

const LENGTH_MAX = 300
const TEXTS_MAX = 2000
