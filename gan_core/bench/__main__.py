"""One process of a measurement: `python -m gan_core.bench REQUEST`. Request and answer are JSON."""

import json
import sys

from gan_core.bench.worker import Request, answer
from gan_core.errors import TrainingError, UserError
from gan_core.garbage import collect_rarely

if __name__ == "__main__":
    collect_rarely()
    try:
        print(json.dumps(answer(Request.model_validate_json(sys.argv[1]))))
    except (UserError, TrainingError) as error:
        print(json.dumps({"error": str(error)}))
