import type { RootedTree } from '../rooted-tree.ts'

export type Processor = {
  cpu_cores: number | null
  cpu_brand: string | null
  cpu_microcode: string | null
}

export async function collectProcessor(tree: RootedTree): Promise<Processor> {
  return parseCpuinfo((await tree.text('/proc/cpuinfo')) ?? '')
}

/** Logical cores, and the values (not the lines) that the first core has; ARM names neither model nor microcode. */
export function parseCpuinfo(text: string): Processor {
  const first = (name: string) =>
    new RegExp(`^${name}[ \\t]*:[ \\t]*(.*?)[ \\t]*$`, 'm').exec(text)?.[1] || null
  const cores = text.match(/^processor[ \t]*:/gm)?.length ?? 0
  return {
    cpu_cores: cores === 0 ? null : cores,
    cpu_brand: first('model name'),
    cpu_microcode: first('microcode'),
  }
}
