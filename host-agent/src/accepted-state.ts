import { readFile } from 'node:fs/promises'
import { writeDurably } from './durable-write.ts'

/** The last state that the control plane has accepted; heartbeats may stand for it. */
export type AcceptedState = {
  /** Hexadecimal digest, or null when none was accepted yet. */
  digest(): string | null
  /** Durable when it resolves; remembered in memory even when it rejects. */
  accept(state: { readonly digest: string; readonly reportId: string; readonly at: Date }): Promise<void>
}

/** Reads the file of an earlier run; one that is missing or unreadable counts as none, and the next state replaces it. */
export async function acceptedStateIn(file: string): Promise<AcceptedState> {
  let digest = await readDigest(file)
  return {
    digest: () => digest,
    async accept(state) {
      digest = state.digest
      const content = {
        v: 1,
        state_digest: state.digest,
        report_id: state.reportId,
        accepted_at: state.at.toISOString(),
      }
      await writeDurably(file, `${JSON.stringify(content)}\n`)
    },
  }
}

async function readDigest(file: string): Promise<string | null> {
  try {
    const content: unknown = JSON.parse(await readFile(file, 'utf8'))
    const digest = isVersion1(content) ? content.state_digest : null
    return typeof digest === 'string' && /^[0-9a-f]{64}$/.test(digest) ? digest : null
  } catch {
    return null
  }
}

function isVersion1(content: unknown): content is { readonly v: 1; readonly state_digest?: unknown } {
  return typeof content === 'object' && content !== null && 'v' in content && content.v === 1
}
