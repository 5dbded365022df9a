"""What every poisoner and every upload attack must do, as checks that anybody's own test can call.

Each check raises AssertionError with a sentence that names the property.
"""

from attacks.contracts.poisoners import check_poisoner as check_poisoner
from attacks.contracts.poisoners import poisoner_checks as poisoner_checks
from attacks.contracts.uploads import check_uploader as check_uploader
from attacks.contracts.uploads import uploader_checks as uploader_checks
