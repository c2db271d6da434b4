/** Reads a stream of chunks by length, holding no more than one string and one chunk at a time. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #bytesMax: number
  #rest: Uint8Array = new Uint8Array()
  #position = 0
  #observe: ((bytes: Uint8Array) => void) | undefined

  constructor(chunks: AsyncIterable<Uint8Array>, bytesMax: number) {
    this.#chunks = chunks[Symbol.asyncIterator]()
    this.#bytesMax = bytesMax
  }

  get position(): number {
    return this.#position
  }

  /** Every byte that is read from now on is also shown to the observer. */
  observe(observer: ((bytes: Uint8Array) => void) | undefined): void {
    this.#observe = observer
  }

  /** @throws RangeError for a number that no length can be. */
  async number(): Promise<number> {
    const bytes = await this.bytes(8)
    const value = Buffer.from(bytes.buffer, bytes.byteOffset, 8).readBigUInt64LE()
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      throw new RangeError(`a length of ${value} at byte ${this.#position}`)
    return Number(value)
  }

  /** A length, that many bytes, and zeroes up to a multiple of eight. @throws RangeError */
  async string(bytesMax: number): Promise<Buffer> {
    const length = await this.number()
    if (length > bytesMax)
      throw new RangeError(
        `a text of ${length} bytes at byte ${this.#position}; at most ${bytesMax} are allowed`,
      )
    const bytes = await this.bytes(length)
    await this.zeroes((8 - (length % 8)) % 8)
    return Buffer.from(bytes)
  }

  async zeroes(count: number): Promise<void> {
    const bytes = await this.bytes(count)
    if (bytes.some((byte) => byte !== 0))
      throw new RangeError(`padding that is not zero at byte ${this.#position}`)
  }

  /** @throws RangeError when the stream ends before. */
  async bytes(count: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = []
    await this.each(count, (part) => parts.push(Uint8Array.from(part)))
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)
  }

  /** Shows the next bytes in parts, without keeping them. @throws RangeError when the stream ends before. */
  async each(count: number, show: (part: Uint8Array) => void): Promise<void> {
    for (let left = count; left > 0; ) {
      if (this.#rest.length === 0) await this.#next()
      const part = this.#rest.subarray(0, left)
      this.#rest = this.#rest.subarray(part.length)
      this.#position += part.length
      left -= part.length
      this.#observe?.(part)
      show(part)
    }
  }

  async isAtEnd(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next()
      if (next.done === true) return true
      this.#rest = next.value
    }
    return false
  }

  async #next(): Promise<void> {
    const next = await this.#chunks.next()
    if (next.done === true)
      throw new RangeError(`the archive ends in the middle, after ${this.#position} bytes`)
    if (this.#position + next.value.length > this.#bytesMax) {
      throw new RangeError(`the archive is larger than ${this.#bytesMax} bytes`)
    }
    this.#rest = next.value
  }
}
