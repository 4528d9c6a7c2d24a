package Test::Lockbox::Contract;

# The admin API answers, and the gate refuses, as admin/openapi.json says: all
# such answers to a test are kept, and compared when the test is done.

use strict;
use warnings;

use Cwd qw(abs_path);
use Digest::SHA qw(sha256);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Temp ();
use JSON::PP ();
use POSIX ();
use Test::More ();

our @EXPORT_OK = qw($DOCUMENT answered faults verdict);

my $ROOT = abs_path(dirname(__FILE__) . '/../../../..');
my @PROGRAM = ('/usr/bin/python3', '-B', "$ROOT/t/openapi/contract.py");

# So many are compared at once, and so many faults are enough to read.
my ($MANY, $ENOUGH) = (5000, 20);

# of every answer of nginx, and nothing that a document would say
my %USUAL = map { $_ => 1 } qw(server date connection keep-alive);

my $JSON = JSON::PP->new->utf8->canonical;

our $DOCUMENT = "$ROOT/admin/openapi.json";

my (%Mounts, %Seen, @Answers, @Faults);


# Takes the places of the admin API from a configuration, but for those where
# other modules have a say, such as limit_req.
sub mounted {
    my ($conf) = @_;

    while ($conf =~ /location\s+(?:\^~\s+)?(\/\S*)\s*\{([^{}]*)\}/g) {
        my ($prefix, $inside) = ($1, $2);

        $Mounts{$prefix} = $inside !~ /^\s*(?!lockbox_)\w/m
            if $inside =~ /\blockbox_admin\s+on;/;
    }
}

# Keeps an answer to a request, { method, uri, sent } (the body, undef if that
# is not known), when it came whole.
sub answered {
    my ($request, $response) = @_;

    return unless $request && $response->complete;

    my ($described, $path, $query) = place_of($request->{uri});
    my $refused = ($response->header('content-type') // '')
                  eq 'application/problem+json';

    return unless $described // $refused;

    my %headers = map { $_ => $response->header($_) }
                  grep { !$USUAL{$_} } keys %{ $response->headers };
    my %answer = (
        method => $request->{method}, status => $response->status + 0,
        headers => \%headers, body => $response->body,
        $described ? (path => $path, query => $query,
                      sent => $request->{sent}) : (),
    );

    return if $Seen{ sha256($JSON->encode(\%answer)) }++;

    $answer{name} = line_of_test() . ": $request->{method} $request->{uri}, "
                    . $response->status;
    push @Answers, \%answer;
    compare() if @Answers == $MANY;
}

# For what is meant for the API, whether the document describes how it is
# answered there, path (as nginx reads it) and query below that place; else
# nothing.
sub place_of {
    my ($uri) = @_;

    my ($path, $query) = $uri =~ m{^(?:http://[^/?]*)?([^?]*)\??(.*)}s;

    for ($path) {
        s/%([[:xdigit:]]{2})/chr hex $1/ge;
        s{/+}{/}g;
        s{/\.(?=/|\z)}{}g;
        1 while s{/[^/]+/\.\.(?=/|\z)}{};
    }

    for my $prefix (keys %Mounts) {
        return ($Mounts{$prefix}, "/$1", $query)
            if $path =~ m{^\Q$prefix\E(.*)}s;
    }

    return;
}

# The innermost first.
sub line_of_test {
    my @lines;

    for (my $level = 0; my (undef, $file, $line) = caller $level; $level++) {
        push @lines, $line if $file =~ /\.t$/;
    }

    return @lines ? 'line ' . join ' < ', @lines : 'somewhere';
}

sub compare {
    my $file = File::Temp->new;

    print {$file} map { $JSON->encode($_) . "\n" } splice @Answers;
    close $file or die "$file: $!\n";

    push @Faults, verdict('answers', "<$file");
}

# The faults, a line each, that the program finds; input, if any, comes last.
sub verdict {
    my ($what, @arguments) = @_;

    my $input = @arguments && $arguments[-1] =~ /^<(.*)/ ? $1 : '/dev/null';
    my @command = (@PROGRAM, $DOCUMENT, $what, grep { !/^</ } @arguments);

    local $?;
    my $pid = open(my $out, '-|') // die "fork: $!\n";

    if ($pid == 0) {
        open STDIN, '<', $input or die "$input: $!\n";
        exec { $command[0] } @command or POSIX::_exit(127);
    }

    my @lines = <$out>;

    close $out or die "@command failed\n";
    chomp @lines;

    return @lines;
}

# All that is wrong with the answers so far, and forgets it.
sub faults {
    compare() if @Answers;

    return splice @Faults;
}

# A check of the test, if there was any answer.
sub check {
    return unless %Seen;

    my @faults = faults();
    my $more = @faults - $ENOUGH;

    splice @faults, $ENOUGH, $more, "and $more more" if $more > 0;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    Test::More::is(join("\n", @faults), '',
                   'all answers are as admin/openapi.json says');
}


1;
