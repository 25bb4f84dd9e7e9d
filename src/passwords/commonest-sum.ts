// Written by `npm run passwords`.
/** The asset with the commonest passwords, packed. */
export const COMMONEST = {
  path: 'src/passwords/commonest-packed.txt',
  checksum: '3d183fe27a240df04c73d086650d6005c0877d8833eada8ec25bcdfe184a4e25',
}
