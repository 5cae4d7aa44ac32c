"""Write the Parquet files of the embedded questions into the library."""

from qa_lib.data.embedded import FOLDER
from scripts.corpus.generate import write

if __name__ == "__main__":
    for path in write(FOLDER):
        print(f"{path}: {path.stat().st_size:,} bytes")
