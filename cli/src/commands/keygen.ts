import { access, mkdir, rm } from 'node:fs/promises'
import { dirname, extname } from 'node:path'
import { generateKeyPair, keyId, renderPublicKey, renderSeed } from '@crystal-forge/protocol'
import { defineCommand } from 'citty'
import type { Console } from '../console.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { reason, writeNewFile } from '../secret-file.ts'
import type { Command } from './shared-arguments.ts'

/** `cf keygen`, in the original's key format: base64 of the 32-byte seed, and `.pub` with the base64 of the public key beside it. */
export function keygenCommand(console: Console): Command {
  return defineCommand({
    meta: { name: 'keygen', description: 'Make an Ed25519 key pair for a host or a builder' },
    args: {
      file: {
        type: 'string',
        alias: 'f',
        valueHint: 'FILE',
        description: 'Private key; /var/lib/crystal_forge/<hostname>.key by default',
      },
      type: {
        type: 'enum',
        alias: 't',
        options: KINDS,
        default: 'ed25519',
        description: 'Kind of key',
      },
      yes: { type: 'boolean', alias: 'y', description: 'Save without asking' },
      json: { type: 'boolean', description: 'Print the answer as JSON' },
    },
    run: async ({ args }): Promise<ExitCode> => {
      const file = args.file ?? `/var/lib/crystal_forge/${console.hostname}.key`
      const publicFile = publicFileOf(file)
      await refuseExisting([file, publicFile])
      const { seed, publicKey } = generateKeyPair()
      if (args.yes !== true && !(await confirmed(console, file))) {
        console.err('nothing was saved')
        return EXIT.failed
      }
      await makeDirectory(dirname(file))
      await writeNewFile(file, `${renderSeed(seed)}\n`, 0o600)
      try {
        await writeNewFile(publicFile, `${renderPublicKey(publicKey)}\n`, 0o644)
      } catch (error) {
        await rm(file)
        throw error
      }
      const answer = {
        private_key: file,
        public_key_file: publicFile,
        public_key: renderPublicKey(publicKey),
      }
      if (args.json === true) console.out(JSON.stringify({ ...answer, key_id: keyId(publicKey) }, null, 2))
      else {
        console.err(`private key ${file} (mode 0600), public key ${publicFile}`)
        console.out(answer.public_key)
      }
      return EXIT.ok
    },
  })
}

function publicFileOf(file: string): string {
  const extension = extname(file)
  const publicFile = `${extension === '' ? file : file.slice(0, -extension.length)}.pub`
  if (publicFile !== file) return publicFile
  throw new CommandError(
    EXIT.usage,
    `-f is ${file}: .pub is the ending of the public key; choose another name`,
  )
}

async function refuseExisting(files: readonly string[]): Promise<void> {
  for (const file of files) {
    const exists = await access(file).then(
      () => true,
      () => false,
    )
    if (exists)
      throw new CommandError(
        EXIT.failed,
        `${file} exists and is not overwritten: choose another name or remove it`,
      )
  }
}

async function confirmed(console: Console, file: string): Promise<boolean> {
  const answer = await console.ask(`Save the private key to ${file}? [Y/n] `)
  if (answer === null)
    throw new CommandError(EXIT.usage, 'nobody can be asked here: add --yes to save without asking')
  return /^\s*(y(es)?)?\s*$/i.test(answer)
}

async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new CommandError(
      EXIT.failed,
      `${directory} could not be made: ${reason(cause)}; name a file with -f`,
      { cause },
    )
  }
}

/** The original's tool has the flag, with one choice. */
const KINDS: string[] = ['ed25519']
