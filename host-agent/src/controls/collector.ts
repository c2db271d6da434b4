import type { RootedTree } from '../rooted-tree.ts'

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }
export type Args = Readonly<Record<string, Json>>

/**
 * Runs a program of the system profile and gives its standard output as text. No shell, a cleared environment, bounded in time and size.
 * @throws CannotCollect `absent` without the program, `not_permitted` when it complains of that, `timeout`, `too_large`, `unreadable` when
 * it prints no text, `failed` otherwise.
 */
export type RunProgram = (
  program: string,
  argv: readonly string[],
  environment?: Readonly<Record<string, string>>,
) => Promise<string>

/** What a collector may use: files below the root, and programs of the system profile. It changes nothing. */
export type Host = {
  readonly tree: RootedTree
  readonly run: RunProgram
  readonly now: () => Date
  /** Milliseconds of a clock that never jumps; walks over directories stop by it. */
  readonly monotonicMs: () => number
}

/**
 * Reads one kind of fact, in the shape that `catalogue/collectors.json` gives. Values only: what they mean is judged elsewhere. A secret is
 * never part of a value.
 * @throws CannotCollect when there is no honest value; an empty value would read as "none".
 */
export type Collector = (host: Host, args: Args) => Promise<Json>

export type WhyNot =
  | 'absent'
  | 'not_permitted'
  | 'unreadable'
  | 'timeout'
  | 'too_large'
  | 'unsupported'
  | 'failed'

/** There is no value. The message is for a person and holds nothing of what was read. */
export class CannotCollect extends Error {
  readonly code: WhyNot

  constructor(code: WhyNot, message: string) {
    super(message)
    this.name = 'CannotCollect'
    this.code = code
  }
}

/** Whether an error of the operating system says that something is there and kept from this process. */
export function isDenied(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EACCES' || error.code === 'EPERM')
}

/** An argument that is a text. */
export function textArg(args: Args, name: string, shape: RegExp): string {
  const value = args[name]
  if (typeof value === 'string' && shape.test(value)) return value
  throw new CannotCollect('unsupported', `the argument ${name} is not of the form ${shape.source}`)
}

/** An argument that is a list of texts, empty when it is left out. */
export function textsArg(args: Args, name: string, shape: RegExp): readonly string[] {
  const value = args[name] ?? []
  if (isTexts(value) && value.every((text) => shape.test(text))) return value
  throw new CannotCollect('unsupported', `the argument ${name} is no list of ${shape.source}`)
}

function isTexts(value: Json): value is readonly string[] {
  return Array.isArray(value) && value.every((part) => typeof part === 'string')
}

/** A set of texts as a value: the order must not depend on how they were found. */
export function inOrder(texts: Iterable<string>): string[] {
  return [...texts].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
}

/** Absolute, and nothing that a path of a file would not have. */
export const PATH: RegExp = /^\/[A-Za-z0-9._@:/+-]{1,250}$/
/** A name of a program, a unit, a PAM service or a profile. */
export const NAME: RegExp = /^[A-Za-z0-9_][A-Za-z0-9._@:\\-]{0,120}$/
