import type { Log } from '../src/log.ts'

export type Said = { readonly level: string; readonly message: string; readonly fields: object }

/** Keeps what was logged. */
export function quietLog(): Log & { readonly said: Said[] } {
  const said: Said[] = []
  const say =
    (level: string) =>
    (fields: unknown, message?: string): void => {
      said.push(
        typeof fields === 'string'
          ? { level, message: fields, fields: {} }
          : {
              level,
              message: message ?? '',
              fields: typeof fields === 'object' && fields !== null ? fields : {},
            },
      )
    }
  return { said, debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') }
}
