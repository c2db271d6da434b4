import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { memoryPages, validateXML } from 'xmllint-wasm'

/**
 * Faults of a document against an XML Schema, as libxml2 finds them. What the schema imports lies beside it, and nothing is
 * fetched. Libxml2 is built for WebAssembly here, so no machine has to have it.
 */
export async function xmlFaults(xsd: string, document: string): Promise<string[]> {
  const folder = path.dirname(xsd)
  const fileOf = (fileName: string): { fileName: string; contents: string } => ({
    fileName,
    contents: readFileSync(path.join(folder, fileName), 'utf8'),
  })
  const beside = readdirSync(folder).filter((name) => name.endsWith('.xsd') && name !== path.basename(xsd))
  const { valid, errors, rawOutput } = await validateXML({
    xml: { fileName: 'document.xml', contents: document },
    schema: fileOf(path.basename(xsd)),
    preload: beside.map(fileOf),
    maxMemoryPages: memoryPages.GiB / 2,
  })
  if (valid) return []
  return errors.length > 0 ? errors.map(({ message }) => message) : [rawOutput]
}
