import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { defineCommand } from 'citty'
import { apiOf, readList } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { reason } from '../secret-file.ts'
import { wholeValue } from '../table.ts'
import { filterArguments, listQuery, PAGE_ARGUMENTS, printPage } from './lists.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf attestation make|list|accept|reject`: what people say of rules that no machine decides. */
export function attestationCommand(console: Console): Command {
  return defineCommand({
    meta: { name: 'attestation', description: 'What people say of rules that no machine decides' },
    subCommands: {
      make: make(console),
      list: listStatements(console),
      accept: decide(console, 'accept', 'Let it count; not by who made it'),
      reject: decide(console, 'reject', 'Let it count no more'),
    },
  })
}

function make(console: Console): Command {
  return defineCommand({
    meta: { name: 'make', description: 'State that a rule holds on a host, or that it does not' },
    args: {
      host: { type: 'positional', required: true, description: 'The host' },
      rule: { type: 'positional', required: true, description: 'The rule, such as V-268101' },
      statement: { type: 'string', required: true, description: 'What was seen' },
      fails: { type: 'boolean', description: 'The rule does not hold: counts at once' },
      document: {
        type: 'string',
        valueHint: 'FILE',
        description: 'A document; its SHA-256 is recorded, not its content',
      },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const document = args.document === undefined ? {} : { document_sha256: await digestOf(args.document) }
      const { host: system, rule, statement } = args
      const body = { system, rule, statement, holds: args.fails !== true, ...document }
      const api = apiOf(console, await findConnection(console, args))
      const answer = await api.call('POST', '/v1/attestations', { body })
      console.out(args.json === true ? JSON.stringify(answer, null, 2) : wholeValue(answer['id']))
      return EXIT.ok
    },
  })
}

async function digestOf(file: string): Promise<string> {
  try {
    return createHash('sha256')
      .update(await readFile(file))
      .digest('hex')
  } catch (cause) {
    throw new CommandError(EXIT.usage, `${file} cannot be read: ${reason(cause)}`, { cause })
  }
}

function listStatements(console: Console): Command {
  return defineCommand({
    meta: { name: 'list', description: 'Statements, newest first' },
    args: { ...filterArguments(FILTERS), ...PAGE_ARGUMENTS, ...CONNECTION_ARGUMENTS },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const page = await readList(api, '/v1/attestations', listQuery(args, FILTERS), args.all === true)
      if (args.json === true) console.out(JSON.stringify(page, null, 2))
      else printPage(console, { columns: COLUMNS }, page)
      return EXIT.ok
    },
  })
}

function decide(console: Console, name: 'accept' | 'reject', description: string): Command {
  return defineCommand({
    meta: { name, description },
    args: {
      attestation: { type: 'positional', required: true, description: 'Id, as cf attestation list shows it' },
      reason: { type: 'string', description: 'Why, for the record' },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const body = args.reason === undefined ? {} : { reason: args.reason }
      const answer = await api.call(
        'POST',
        `/v1/attestations/${encodeURIComponent(args.attestation)}/${name}`,
        { body },
      )
      console.out(
        args.json === true
          ? JSON.stringify(answer, null, 2)
          : `${wholeValue(answer['id'])} is ${wholeValue(answer['decision'])}`,
      )
      return EXIT.ok
    },
  })
}

const FILTERS = { system: 'About this host', rule: 'About this rule' }
const COLUMNS = [
  ['ID', 'id'],
  ['HOST', 'system'],
  ['RULE', 'rule'],
  ['HOLDS', 'holds'],
  ['BY', 'author'],
  ['DECISION', 'decision'],
  ['UNTIL', 'expires_at'],
  ['STATEMENT', 'statement'],
] as const
