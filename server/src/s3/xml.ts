/** Text as XML, in the way of S3: elements only, no attributes but the namespace. */
export type Xml = string | number | boolean | readonly XmlElement[]
export type XmlElement = readonly [name: string, content: Xml]

export function xmlDocument([name, content]: XmlElement): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${render(content)}</${name}>`
}

function render(content: Xml): string {
  if (!Array.isArray(content)) return escaped(String(content))
  return content.map(([name, inner]) => `<${name}>${render(inner)}</${name}>`).join('')
}

function escaped(text: string): string {
  // The rest of the control characters does not exist in XML 1.0; listings with such keys ask for encoding-type=url.
  return text.replace(/[&<>"'\r\n]/g, (letter) => `&#${letter.charCodeAt(0)};`)
}

/** The contents of every element `name`, for the two flat documents that clients send. */
export function elements(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}>([^]*?)</${name}>`, 'g'))].map(([, content = '']) => content)
}

/** The text of the first element `name`. */
export function elementText(xml: string, name: string): string | undefined {
  const [text] = elements(xml, name)
  return text?.replace(/&(?:#(\d+)|#x([0-9a-fA-F]+)|(\w+));/g, (whole, decimal, hex, word) => {
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal))
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16))
    return NAMED[word] ?? whole
  })
}

const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
