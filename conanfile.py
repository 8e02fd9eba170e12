"""conan create . -s compiler.cppstd=20 -tf packaging/conan_test_package"""

import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load, rmdir
from conan.tools.scm import Version

required_conan_version = ">=2.0"


class RayxxConan(ConanFile):
    name = "rayxx"
    description = "Ray's tasks, objects and actors as a C++20 library"
    license = "Apache-2.0"
    topics = ("tasks", "actors", "parallel", "distributed")
    package_type = "static-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"fPIC": [True, False]}
    default_options = {"fPIC": True}
    exports_sources = "CMakeLists.txt", "LICENSE", "cmake/*", "include/*", "src/*"

    _compilers = {"gcc": "12", "clang": "14"}

    def set_version(self):
        header = load(self, os.path.join(self.recipe_folder, "include/ray/version.hpp"))
        self.version = ".".join(
            re.search(rf"^#define RAY_VERSION_{part} +(\d+)", header, re.MULTILINE)[1]
            for part in ("MAJOR", "MINOR", "PATCH"))

    def layout(self):
        cmake_layout(self)

    def validate(self):
        check_min_cppstd(self, 20)
        if (self.settings.os, self.settings.arch) != ("Linux", "x86_64"):
            raise ConanInvalidConfiguration("rayxx runs on Linux on x86-64")
        compiler = str(self.settings.compiler)
        wanted = self._compilers.get(compiler)
        if wanted and Version(self.settings.compiler.version) < wanted:
            raise ConanInvalidConfiguration(f"rayxx needs {compiler} {wanted} or newer")

    def generate(self):
        toolchain = CMakeToolchain(self)
        for part in ("TESTS", "EXAMPLES", "BENCHMARKS"):
            toolchain.cache_variables[f"RAY_BUILD_{part}"] = False
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        for folder in ("lib/cmake", "lib/pkgconfig", "share"):  # Conan makes its own.
            rmdir(self, os.path.join(self.package_folder, folder))

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "ray")
        self.cpp_info.set_property("cmake_target_name", "ray::ray")
        self.cpp_info.set_property("pkg_config_name", "rayxx")

        core = self.cpp_info.components["core"]
        core.set_property("cmake_target_name", "ray::core")
        core.libs = ["ray_core"]
        core.system_libs = ["pthread"]
        sim = self.cpp_info.components["sim"]
        sim.set_property("cmake_target_name", "ray::sim")
        sim.libs = ["ray_sim"]
        sim.requires = ["core"]
