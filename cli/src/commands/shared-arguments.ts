import type { SubCommandsDef } from 'citty'

/** A command whatever its arguments are. */
export type Command = SubCommandsDef[string]

/** Arguments of every command that talks to the control plane. */
export const CONNECTION_ARGUMENTS = {
  server: { type: 'string', valueHint: 'URL', description: 'Where the control plane is' },
  'token-file': { type: 'string', valueHint: 'FILE', description: 'A file that holds the token' },
  json: { type: 'boolean', description: 'Print the answer as JSON' },
} as const
